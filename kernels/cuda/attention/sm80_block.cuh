// What the attention kernels of a block share: tiles in shared memory, fragments of them, steps through segments.
#pragma once

#include <bit>
#include <type_traits>
#include <utility>

#include "device/async_copy.cuh"
#include "device/math.cuh"
#include "device/matrix.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/attention/sm80_kernels.h"
#include "kernels/cuda/attention/sm80_shapes.h"

namespace longspan::cuda::sm80 {

constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;
__device__ inline float infinity() {
  return std::bit_cast<float>(0x7f800000u);
}

// body(std::integral_constant<int, i>) for i = 0 … kCount - 1: what registers hold must be indexed by constants.
template <int kCount, class Body>
__device__ __forceinline__ void for_each_constant(const Body& body) {
  [&]<int... i>(std::integer_sequence<int, i...>) {
    (body(std::integral_constant<int, i>()), ...);
  }
  (std::make_integer_sequence<int, kCount>());
}

// The block's next item, the same for all its threads; tiles.num_items or more: none is left. A barrier.
__device__ __forceinline__ int draw_item(const DeviceTiles& tiles, int* shared) {
  if (threadIdx.x == 0) *shared = atomic_add(tiles.next, 1);
  sync_block();
  return *shared;
}

// Rows of a tile from global memory, zeros beyond `width` columns and where row_at(r) is null. By the whole block of
// kThreads; arrives as asynchronous copies do where rows are read in vectors. `some` is an address that may be read.
template <int kWidth, int kRows, int kThreads, class RowAt>
__device__ __forceinline__ void load_tile(bf16* tile, int width, Access access, const bf16* some, const RowAt& row_at) {
  constexpr int kChunks = kWidth / 8;
  static_assert(kRows * kChunks % kThreads == 0, "threads take whole rounds");
  const auto thread = static_cast<int>(threadIdx.x);
#pragma unroll 2
  for (int round = 0; round < kRows * kChunks / kThreads; ++round) {
    const int i = round * kThreads + thread, row = i / kChunks, chunk = i % kChunks;
    const bf16* from = row_at(row);
    bf16* to = tile + swizzled<kWidth>(row, chunk);
    if (access == Access::kVectors) {
      const bool valid = from != nullptr && chunk * 8 < width;
      copy_async_16(to, valid ? from + chunk * 8 : some, valid ? 16 : 0);
    } else {
      for (int e = 0; e < 8; ++e) {
        const int column = chunk * 8 + e;
        to[e] = from != nullptr && column < width ? from[column] : std::bit_cast<bf16>(std::uint16_t{0});
      }
    }
  }
}

// 16 * step columns on in the same row of a tile that begins at a multiple of 1024 bytes: one bit operation on an
// address that is otherwise the same for all steps.
__device__ __forceinline__ const bf16* columns_on(const bf16* from, int step) {
  return reinterpret_cast<const bf16*>(reinterpret_cast<std::uintptr_t>(from) ^ static_cast<std::uintptr_t>(step * 32));
}
// Rows row … row + 15 and columns 16 step … of a tile as the left factor.
template <int kWidth>
__device__ __forceinline__ void load_left(std::uint32_t (&a)[4], const bf16* tile, int row, int step) {
  load_matrix_x4(a, columns_on(tile + swizzled<kWidth>(row + (lane() & 15), lane() >> 4), step));
}
// Rows row … row + 15, columns 16 step … of a tile as two right factors whose columns are the tile's rows.
template <int kWidth>
__device__ __forceinline__ void load_right_of_rows(std::uint32_t (&b)[2][2], const bf16* tile, int row, int step) {
  std::uint32_t r[4];
  const int from = row + (lane() & 7) + (lane() >> 4 << 3);
  load_matrix_x4(r, columns_on(tile + swizzled<kWidth>(from, lane() >> 3 & 1), step));
  b[0][0] = r[0], b[0][1] = r[1], b[1][0] = r[2], b[1][1] = r[3];
}
// The same rows, columns 16 pair …, as two right factors whose columns are the tile's columns: rows are summed over.
template <int kWidth>
__device__ __forceinline__ void load_right_of_columns(std::uint32_t (&b)[2][2], const bf16* tile, int row, int pair) {
  std::uint32_t r[4];
  load_matrix_transposed_x4(r, columns_on(tile + swizzled<kWidth>(row + (lane() & 15), lane() >> 4), pair));
  b[0][0] = r[0], b[0][1] = r[1], b[1][0] = r[2], b[1][1] = r[3];
}

// A warp's results of kColumns columns: [8-column tile][element], as multiply_add has them.
template <int kColumns>
struct Sums {
  static constexpr int kTiles = kColumns / 8;
  float at[kTiles][4];
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) at[n][e] = 0.0f;
  }
  __device__ __forceinline__ void multiply_by(float factor) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) at[n][e] *= factor;
  }
};

// sums[t][16 rows, kColumns] += left[16, kWidth] right[kColumns, kWidth]^T for each row tile t: what is read of the
// right serves all of them.
template <int kWidth, int kColumns, int kRowTiles>
__device__ __forceinline__ void add_scores(Sums<kColumns> (&sums)[kRowTiles], const bf16* left, int left_row,
                                           const bf16* right) {
#pragma unroll
  for (int step = 0; step < kWidth / 16; ++step) {
    std::uint32_t a[kRowTiles][4];
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) load_left<kWidth>(a[t], left, left_row + t * kMatrixRows, step);
#pragma unroll
    for (int pair = 0; pair < kColumns / 16; ++pair) {
      std::uint32_t b[2][2];
      load_right_of_rows<kWidth>(b, right, pair * 16, step);
#pragma unroll
      for (int t = 0; t < kRowTiles; ++t) {
        multiply_add(sums[t].at[2 * pair], a[t], b[0]);
        multiply_add(sums[t].at[2 * pair + 1], a[t], b[1]);
      }
    }
  }
}

// Columns 16 step … of weights, rounded, as a left factor: sums are laid out as left factors are.
template <int kColumns>
__device__ __forceinline__ void round_weights(std::uint32_t (&a)[4], const Sums<kColumns>& x, int step) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float(&tile)[4] = x.at[2 * step + half];
    a[2 * half] = pack_bf16(tile[0], tile[1]);
    a[2 * half + 1] = pack_bf16(tile[2], tile[3]);
  }
}

// sums[t][16 rows, kWidth] += weights[t][16, kRows] rows[kRows, kWidth].
template <int kWidth, int kRows, int kRowTiles>
__device__ __forceinline__ void add_weighted_rows(Sums<kWidth> (&sums)[kRowTiles],
                                                  const Sums<kRows> (&weights)[kRowTiles], const bf16* rows) {
#pragma unroll
  for (int step = 0; step < kRows / 16; ++step) {
    std::uint32_t a[kRowTiles][4];
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) round_weights(a[t], weights[t], step);
#pragma unroll
    for (int pair = 0; pair < kWidth / 16; ++pair) {
      std::uint32_t b[2][2];
      load_right_of_columns<kWidth>(b, rows, step * 16, pair);
#pragma unroll
      for (int t = 0; t < kRowTiles; ++t) {
        multiply_add(sums[t].at[2 * pair], a[t], b[0]);
        multiply_add(sums[t].at[2 * pair + 1], a[t], b[1]);
      }
    }
  }
}

// What a row does not see becomes `value`; the step begins with row `begin` of the moving side.
template <int kStep>
__device__ __forceinline__ void set_unseen(Sums<kStep>& x, float value, const RowRange (&seen)[2], int begin) {
#pragma unroll
  for (int n = 0; n < Sums<kStep>::kTiles; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int key = begin + n * 8 + (lane() & 3) * 2 + e % 2;
      if (key < seen[e / 2].begin || key >= seen[e / 2].end) x.at[n][e] = value;
    }
}

// Steps of the moving side through the segments of an item.
struct Cursor {
  const TileSegment* segments;
  int segment, last;
  int begin = 0, end = 0;              // of this step's rows … of the segment's
  int whole_begin = 0, whole_end = 0;  // of the segment

  __device__ Cursor(const DeviceTiles& tiles, const TileItem& item)
      : segments(tiles.segments), segment(item.segment_begin), last(item.segment_end) {
    enter();
  }
  __device__ bool is_done() const { return segment >= last; }
  // Whether every lane of the tile sees all rows of the step.
  __device__ bool is_whole(int rows) const { return whole_begin <= begin && begin + rows <= whole_end; }
  __device__ void advance(int rows) {
    begin += rows;
    if (begin < end) return;
    ++segment;
    enter();
  }
  __device__ void enter() {
    if (is_done()) return;
    begin = segments[segment].begin;
    end = segments[segment].end;
    whole_begin = segments[segment].whole_begin;
    whole_end = segments[segment].whole_end;
  }
};

// Two neighbouring columns of a row of fp32; `count` of them exist.
__device__ __forceinline__ float2 load_pair(const float* from, int count, Access access) {
  if (access == Access::kVectors) {
    const Vector<float, 2> pair = load_vector<2>(from);
    return make_float2(pair[0], pair[1]);
  }
  return make_float2(from[0], count > 1 ? from[1] : 0.0f);
}
__device__ __forceinline__ void store_pair(float* to, float2 pair, int count, Access access) {
  if (access == Access::kVectors) return store_vector(to, Vector<float, 2>{{pair.x, pair.y}});
  to[0] = pair.x;
  if (count > 1) to[1] = pair.y;
}

}  // namespace longspan::cuda::sm80
