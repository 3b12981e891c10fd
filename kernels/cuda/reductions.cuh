// Sums and maxima over a warp and a block, always in the same order.
#pragma once

#include "device/lanes.cuh"
#include "device/platform.cuh"

namespace longspan::cuda {

// Every lane gets the same bits: at each step both partners add the same two numbers.
template <class T>
__device__ T warp_sum(T x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) x += shuffle_xor(x, mask);
  return x;
}
template <class T>
__device__ T warp_max(T x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const T other = shuffle_xor(x, mask);
    x = x < other ? other : x;
  }
  return x;
}

// Over all threads of the block, which has whole warps; every thread gets the same bits. `shared` holds one T a warp,
// and may be used again at once.
template <class T>
__device__ T block_sum(T x, T* shared) {
  x = warp_sum(x);
  if (lane() == 0) shared[warp_of_block()] = x;
  sync_block();
  T sum = shared[0];
  for (int w = 1; w < static_cast<int>(blockDim.x * blockDim.y * blockDim.z) / kWarp; ++w) sum += shared[w];
  sync_block();
  return sum;
}
template <class T>
__device__ T block_max(T x, T* shared) {
  x = warp_max(x);
  if (lane() == 0) shared[warp_of_block()] = x;
  sync_block();
  T max = shared[0];
  for (int w = 1; w < static_cast<int>(blockDim.x * blockDim.y * blockDim.z) / kWarp; ++w)
    max = max < shared[w] ? shared[w] : max;
  sync_block();
  return max;
}

}  // namespace longspan::cuda
