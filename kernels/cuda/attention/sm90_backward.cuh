// What the two backward kernels for Hopper share: statistics of query rows, and results added to their carries.
#pragma once

#include "kernels/cuda/attention/sm90_block.cuh"
#include "kernels/cuda/attention/sm90_kernels.cuh"

namespace longspan::cuda::sm90 {

// In units of log 2. A row outside the tensor gets +inf: all its probabilities are 0.
__device__ __forceinline__ float lse_log2_of(const BackwardArgs& args, int row, int head) {
  return row < args.num_queries ? *args.lse.at(row, head) * kLog2E : INFINITY;
}
__device__ __forceinline__ float delta_of(const BackwardArgs& args, int row, int head) {
  return row < args.num_queries ? *args.delta.at(row, head) : 0.0f;
}

// to[first … first + 63] += scale * sums, without rows at or behind num_rows.
template <int kCount>
__device__ __forceinline__ void add_fragment(const float (&sums)[kCount], float scale, const Rows& to, int first,
                                             int num_rows, int head, int thread) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = first + fragment_row(thread, 2 * r);
    if (row >= num_rows) continue;
    float* const start = to.at(row, head);
#pragma unroll
    for (int i = 2 * r; i < kCount; i += 4) {
      auto* const place = reinterpret_cast<Vector<float, 2>*>(start + fragment_column(thread, i));
      Vector<float, 2> value = *place;
      value[0] = fma(sums[i], scale, value[0]);
      value[1] = fma(sums[i + 1], scale, value[1]);
      *place = value;
    }
  }
}

}  // namespace longspan::cuda::sm90
