// What both backward kernels share: lse and delta of a query row, masks, adding to a row of a gradient.
#pragma once

#include "kernels/cuda/attention/sm80_block.cuh"

namespace longspan::cuda::sm80 {

struct RowTerms {
  float lse;  // in powers of two; +infinity where the row sees nothing or is none: its probabilities are 0
  float delta;
};
__device__ inline RowTerms row_terms(const BackwardArgs& args, std::int64_t row, int head) {
  if (row >= args.sizes.num_queries) return {infinity(), 0.0f};
  const float lse = *args.lse.at(row, head);
  if (lse == -infinity()) return {infinity(), 0.0f};
  return {lse * kLog2E, *args.delta.at(row, head)};
}

// Row of fp32 += factor * the sums' row g (half 0) or g + 8.
template <int kHalf, int kWidth>
__device__ __forceinline__ void add_to_row(float* row, const Sums<kWidth>& sums, float factor, int width,
                                           Access access) {
#pragma unroll
  for (int n = 0; n < Sums<kWidth>::kTiles; ++n) {
    const int column = n * 8 + (lane() & 3) * 2;
    if (column < width) {
      float2 pair = load_pair(row + column, width - column, access);
      pair.x += factor * sums.at[n][2 * kHalf];
      pair.y += factor * sums.at[n][2 * kHalf + 1];
      store_pair(row + column, pair, width - column, access);
    }
  }
}

}  // namespace longspan::cuda::sm80
