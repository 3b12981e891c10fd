// Tiles of attention on Hopper and what a block keeps in shared memory. Plain C++: kernels, planning and tests share
// it.
#pragma once

#include <cstdint>

#include "kernels/core/platform.h"
#include "kernels/cuda/attention/attention_tiles.h"
#include "kernels/cuda/hopper_layout.h"

namespace longspan::cuda::sm90 {

// A block is three warpgroups: one brings tiles, two compute 64 rows of the staying side each. Tensor cores read what
// the first brought; while one of the two forms exponentials the other one's products run.
constexpr int kGroups = 2, kThreads = (1 + kGroups) * kWarpgroup, kComputing = kGroups * kWarpgroup;
constexpr int kTileRows = kGroups * kProductRows;
constexpr int kStages = 2;
// Of 65536 registers: 128 x 24 + 256 x 240 fit.
constexpr int kBringingRegisters = 24, kComputingRegisters = 240;

LS_HD constexpr int tile_bytes(int rows, int head_dim) {
  return rows * head_dim * 2;
}

// Which item a block takes in its n-th round. Items come longest first; every other round runs backwards, so that the
// block with the longest of one gets the shortest of the next.
LS_HD constexpr int item_of_round(int round, int block, int num_blocks) {
  return round * num_blocks + (round % 2 == 0 ? block : num_blocks - 1 - block);
}

// Forward: queries stay.
template <int kHeadDim>
struct Forward {
  static constexpr int kKeys = 128;
  static constexpr int kQ = 0;
  static constexpr int kK = kQ + tile_bytes(kTileRows, kHeadDim);
  static constexpr int kV = kK + kStages * tile_bytes(kKeys, kHeadDim);
  static constexpr int kBarriers = kV + kStages * tile_bytes(kKeys, kHeadDim);
  static constexpr int kBytes = kBarriers + 128;
};

// dq: queries stay.
template <int kHeadDim>
struct BackwardQueries {
  static constexpr int kKeys = kHeadDim == 64 ? 128 : 64;
  static constexpr int kQ = 0;
  static constexpr int kDout = kQ + tile_bytes(kTileRows, kHeadDim);
  static constexpr int kK = kDout + tile_bytes(kTileRows, kHeadDim);
  static constexpr int kV = kK + kStages * tile_bytes(kKeys, kHeadDim);
  static constexpr int kBarriers = kV + kStages * tile_bytes(kKeys, kHeadDim);
  static constexpr int kBytes = kBarriers + 128;
};

// dk and dv: keys stay.
template <int kHeadDim>
struct BackwardKeys {
  static constexpr int kQueries = 64;
  static constexpr int kK = 0;
  static constexpr int kV = kK + tile_bytes(kTileRows, kHeadDim);
  static constexpr int kQ = kV + tile_bytes(kTileRows, kHeadDim);
  static constexpr int kDout = kQ + kStages * tile_bytes(kQueries, kHeadDim);
  static constexpr int kRows = kDout + kStages * tile_bytes(kQueries, kHeadDim);  // lse and delta of the queries
  static constexpr int kBarriers = kRows + kStages * 2 * kQueries * 4;
  static constexpr int kBytes = kBarriers + 128;
};

constexpr int kMaxSharedBytes = 227 * 1024;
static_assert(Forward<128>::kBytes <= kMaxSharedBytes);
static_assert(BackwardQueries<128>::kBytes <= kMaxSharedBytes);
static_assert(BackwardKeys<128>::kBytes <= kMaxSharedBytes);

}  // namespace longspan::cuda::sm90
