// Tiles of attention on tensor cores that warps feed (compute capability 8.0), and what a block keeps in shared memory.
// Plain C++: kernels, planning and tests share it. kWidth is the head size a kernel is made for; smaller heads leave
// the rest zero.
#pragma once

#include <cstdint>

#include "kernels/core/platform.h"

namespace longspan::cuda::sm80 {

constexpr int kMaxWidth = 256;
constexpr int kMatrixRows = 16;  // of the staying side in one product

// Elements from a tile's first to 8 columns of a row. Rows that threads of a warp read together, eight neighbours, lie
// in different banks.
template <int kWidth>
LS_HD constexpr int swizzled(int row, int chunk) {
  static_assert(kWidth % 64 == 0, "whole rows of banks");
  return row * kWidth + ((chunk ^ (row & 7)) << 3);
}

// Queries stay, keys and values come in turn: values while scores are computed, the next keys while the products with
// values are. Two row tiles a warp halve what is read from shared memory for each product.
template <int kWidth>
struct Forward {
  static constexpr int kRowTiles = kWidth <= 128 ? 2 : 1;
  static constexpr int kWarps = kWidth <= 128 ? 4 : 8;
  static constexpr int kLanes = kWarps * kRowTiles * kMatrixRows;
  static constexpr int kStep = 64;
  static constexpr int kBlocksPerMultiprocessor = kWidth <= 128 ? 2 : 1;
  static constexpr int kElements = (kLanes + 2 * kStep) * kWidth;
  static constexpr std::int64_t kBytes = kElements * 2;
};

// Queries and their gradients stay, keys and values come two steps deep.
template <int kWidth>
struct BackwardQueries {
  static constexpr int kWarps = kWidth <= 128 ? 8 : 4;
  static constexpr int kLanes = kWarps * kMatrixRows;
  static constexpr int kStep = kWidth <= 128 ? 64 : 32;
  static constexpr int kBlocksPerMultiprocessor = 1;
  static constexpr int kElements = (2 * kLanes + 4 * kStep) * kWidth;
  static constexpr std::int64_t kBytes = kElements * 2;
};

// Keys and values stay, queries and their gradients come two steps deep with their lse and delta.
template <int kWidth>
struct BackwardKeys {
  static constexpr int kWarps = kWidth <= 128 ? 8 : 4;
  static constexpr int kLanes = kWarps * kMatrixRows;
  static constexpr int kStep = kWidth <= 128 ? 64 : 32;
  static constexpr int kBlocksPerMultiprocessor = 1;
  static constexpr int kElements = (2 * kLanes + 4 * kStep) * kWidth;
  static constexpr std::int64_t kBytes = kElements * 2 + 4 * kStep * 4;
};

constexpr std::int64_t kMaxSharedBytes = 163 << 10;  // of an A100
static_assert(Forward<128>::kBytes * Forward<128>::kBlocksPerMultiprocessor <= kMaxSharedBytes);
static_assert(Forward<256>::kBytes <= kMaxSharedBytes);
static_assert(BackwardQueries<128>::kBytes <= kMaxSharedBytes && BackwardQueries<256>::kBytes <= kMaxSharedBytes);
static_assert(BackwardKeys<128>::kBytes <= kMaxSharedBytes && BackwardKeys<256>::kBytes <= kMaxSharedBytes);

}  // namespace longspan::cuda::sm80
