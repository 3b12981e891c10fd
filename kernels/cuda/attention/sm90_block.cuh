// What the attention kernels for Hopper share: the walk along an item's segments, tiles brought and handed back,
// products over whole tiles.
#pragma once

#include <cmath>

#include "device/bulk_copy.cuh"
#include "device/launch.cuh"
#include "device/math.cuh"
#include "device/registers.cuh"
#include "device/warp.cuh"
#include "device/wgmma.cuh"
#include "kernels/cuda/attention/sm90_shapes.h"

namespace longspan::cuda::sm90 {

constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.693147180559945309f;
constexpr int kComputingBarrier = 1;  // a named barrier of the two computing warpgroups

// The steps of an item whose moving side is one head: tiles of kStep rows of each segment.
template <int kStep>
class Walk {
 public:
  __device__ Walk(const TileSegment* segments, const TileItem& item)
      : segments_(segments), segment_(item.segment_begin - 1), segment_end_(item.segment_end) {}
  // False: there are no more.
  __device__ __forceinline__ bool next() {
    begin_ += kStep;
    if (begin_ < end_) return true;
    if (++segment_ >= segment_end_) return false;
    begin_ = segments_[segment_].begin;
    end_ = segments_[segment_].end;
    return true;
  }
  __device__ const TileSegment& segment() const { return segments_[segment_]; }
  __device__ int begin() const { return begin_; }
  __device__ int rows() const { return end_ - begin_ < kStep ? end_ - begin_ : kStep; }
  __device__ bool is_whole() const { return cuda::is_whole(segment(), begin_, begin_ + kStep); }

 private:
  const TileSegment* segments_;
  int segment_, segment_end_;
  int begin_ = 0, end_ = 0;
};

// Place in a ring of kStages buffers, and the parity of its barriers.
struct Ring {
  int stage = 0, parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage < kStages) return;
    stage = 0;
    parity ^= 1;
  }
};

// A tile's buffer goes back and forth: `full` once it has landed, `empty` once all computing warps are done with it.
struct Handover {
  Barrier64 full, empty;
  __device__ void init(int arrivals_of_full) {
    full.init(arrivals_of_full);
    empty.init(kComputing / kWarp);
  }
  // Holds work that stands before it in front of wait_products, which the assembler of CUDA 13.0 otherwise moves up to
  // the last branch, so that nothing runs beside the products. For a phase that has been waited for: passes at once.
  __device__ __forceinline__ void hold_order(int parity) { full.wait(parity); }
  // By all lanes of a computing warp, after the products that read the buffer.
  __device__ __forceinline__ void give_back() {
    sync_warp();
    if (lane() == 0) empty.arrive();
  }
};

// One thread. `barrier` has been told of tile_bytes.
template <int kRows, int kHeadDim>
__device__ __forceinline__ void load_tile(unsigned char* tile, const TensorMap& map, Barrier64& barrier, int head,
                                          int row) {
#pragma unroll
  for (int panel = 0; panel < kHeadDim / kPanelColumns; ++panel)
    load_box(tile + panel * kRows * kPanelRowBytes, map, barrier, panel * kPanelColumns, head, row);
}

// By all computing threads: the rows from `first` on, which no task has given, read as zeros in sums over rows: what
// stands there may be NaN, and its probability of 0 would not help. Ends with a barrier of these threads.
template <int kRows, int kHeadDim>
__device__ __forceinline__ void clear_rows(unsigned char* tile, int first, int thread) {
  constexpr int kPieces = kPanelRowBytes / 16;
  for (int panel = 0; panel < kHeadDim / kPanelColumns; ++panel)
    for (int piece = first * kPieces + thread; piece < kRows * kPieces; piece += kComputing)
      store_vector(reinterpret_cast<std::uint32_t*>(tile + panel * kRows * kPanelRowBytes + piece * 16),
                   Vector<std::uint32_t, 4>{{0, 0, 0, 0}});
  fence_async_shared();
}

// d [64, kCount * 2] = or += rows first_row … of tile a [kRowsOfA, kDepth] times tile b [kCount * 2, kDepth]
// transposed.
template <int kRowsOfA, int kDepth, int kCount>
__device__ __forceinline__ void multiply_tiles(float (&d)[kCount], const unsigned char* a, int first_row,
                                               const unsigned char* b) {
  constexpr int kRowsOfB = kCount * 2;
  const std::uint64_t a_start = operand(a, kRowsOfA), b_start = operand(b, kRowsOfB);
#pragma unroll
  for (int step = 0; step < kDepth / kProductDepth; ++step)
    multiply<Depth::kAlongColumns>(d, advanced(a_start, step_offset(Depth::kAlongColumns, kRowsOfA, first_row, step)),
                                   advanced(b_start, step_offset(Depth::kAlongColumns, kRowsOfB, 0, step)),
                                   step == 0 ? Sum::kFresh : Sum::kAdd);
}

// d [64, kCount * 2] = or += a [64, kSteps * 16], in registers, times tile b [kSteps * 16, kCount * 2].
template <int kSteps, int kCount>
__device__ __forceinline__ void multiply_registers(float (&d)[kCount], const std::uint32_t (&a)[kSteps][4],
                                                   const unsigned char* b, Sum sum) {
  constexpr int kRowsOfB = kSteps * kProductDepth;
  const std::uint64_t b_start = operand(b, kRowsOfB);
#pragma unroll
  for (int step = 0; step < kSteps; ++step)
    multiply<Depth::kAlongRows>(d, a[step], advanced(b_start, step_offset(Depth::kAlongRows, kRowsOfB, 0, step)),
                                step == 0 ? sum : Sum::kAdd);
}

// Elements of D become A of the next product (see fragment_row).
template <int kCount>
__device__ __forceinline__ void pack_fragment(std::uint32_t (&a)[kCount / 8][4], const float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) a[i / 4][i % 4] = pack_bf16(d[2 * i], d[2 * i + 1]);
}

// Elements of a fragment whose column (row `begin` + … of the moving side) its row (`first` + … of the staying side)
// does not see become `value`, whatever they were.
template <int kCount>
__device__ __forceinline__ void set_unseen(float (&x)[kCount], float value, const TileSegment& segment, int begin,
                                           int head, int first, int thread) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const RowRange seen = rows_seen_by(segment, first + fragment_row(thread, 2 * r), head);
    const int from = seen.begin - begin - fragment_column(thread, 0),
              to = seen.end - begin - fragment_column(thread, 0);
#pragma unroll
    for (int i = 2 * r; i < kCount; i += 4)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (const int column = i / 4 * 8 + e; column < from || column >= to) x[i + e] = value;
  }
}

__device__ __forceinline__ int block_number() {
  return static_cast<int>(blockIdx.x);
}
__device__ __forceinline__ int num_blocks() {
  return static_cast<int>(gridDim.x);
}

// Of the four lanes that hold one row of D.
__device__ __forceinline__ float row_sum(float x) {
  x += shuffle_xor(x, 1);
  return x + shuffle_xor(x, 2);
}
__device__ __forceinline__ float row_max(float x) {
  x = fmaxf(x, shuffle_xor(x, 1));
  return fmaxf(x, shuffle_xor(x, 2));
}

}  // namespace longspan::cuda::sm90
