// What threads of a warp and of a block do together: barriers, exchange of values, votes; atomics.
#pragma once

#include "device/platform.cuh"

namespace longspan::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// Blocks of more than one dimension count x first.
__device__ inline int thread_of_block() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}
__device__ inline int lane() {
  return thread_of_block() % kWarp;
}
__device__ inline int warp_of_block() {
  return thread_of_block() / kWarp;
}

// All threads of the block; none may have returned.
__device__ inline void sync_block() {
  __syncthreads();
}
__device__ inline void sync_warp() {
  __syncwarp();
}
// Barrier `id` (1 to 15) opens once num_threads threads, whole warps, have come; arrive_named counts and goes on.
__device__ inline void sync_named(int id, int num_threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(num_threads) : "memory");
}
__device__ inline void arrive_named(int id, int num_threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(num_threads) : "memory");
}

// All lanes take part; T has 32 or 64 bits. Where there is no such lane, down and up give the own value.
template <class T>
__device__ T shuffle(T x, int from) {
  return __shfl_sync(kAllLanes, x, from);
}
template <class T>
__device__ T shuffle_xor(T x, int mask) {
  return __shfl_xor_sync(kAllLanes, x, mask);
}
template <class T>
__device__ T shuffle_down(T x, int n) {
  return __shfl_down_sync(kAllLanes, x, static_cast<unsigned>(n));
}
template <class T>
__device__ T shuffle_up(T x, int n) {
  return __shfl_up_sync(kAllLanes, x, static_cast<unsigned>(n));
}

// Bit i: lane i's answer.
__device__ inline unsigned ballot(bool predicate) {
  return __ballot_sync(kAllLanes, predicate);
}
__device__ inline bool any(bool predicate) {
  return __any_sync(kAllLanes, predicate) != 0;
}
__device__ inline bool all(bool predicate) {
  return __all_sync(kAllLanes, predicate) != 0;
}

// The value before. The order in which threads come is not fixed: sums of floats differ from run to run.
__device__ inline float atomic_add(float* to, float x) {
  return atomicAdd(to, x);
}
__device__ inline int atomic_add(int* to, int x) {
  return atomicAdd(to, x);
}
// What was written before a release is seen after the acquire that reads it, across the device. A block may wait
// only for blocks of lower number.
__device__ inline int atomic_load_acquire(const int* from) {
  int x;
  asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(x) : "l"(from) : "memory");
  return x;
}
__device__ inline void atomic_store_release(int* to, int x) {
  asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(to), "r"(x) : "memory");
}

// Ends the kernel as a failure.
__device__ inline void trap() {
  __trap();
}

}  // namespace longspan::cuda
