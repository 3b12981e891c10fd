// Copies from global to shared memory beside the thread's work (compute capability 8.0).
#pragma once

#include <cstdint>

#include "device/platform.cuh"

namespace longspan::cuda {

// 16 bytes; both addresses are multiples of 16. valid_bytes 0: zeros, and nothing is read; else 16.
__device__ inline void copy_async_16(void* shared, const void* global, int valid_bytes) {
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(valid_bytes) : "memory");
}
// What this thread has asked for since the last time becomes one group.
__device__ inline void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// All of this thread's groups but the last N have landed. Other threads see that after a barrier.
template <int N>
__device__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace longspan::cuda
