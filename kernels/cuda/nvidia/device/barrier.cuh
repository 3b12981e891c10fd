// Barriers in shared memory on a real GPU (PTX ISA, "Parallel Synchronization and Communication Instructions:
// mbarrier"): a phase is over once as many threads have arrived as init() said and all announced bytes have landed.
#pragma once

#include "device/platform.cuh"

namespace longspan::cuda {

__device__ __forceinline__ std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

struct alignas(8) Barrier64 {
  std::uint64_t state;

  __device__ __forceinline__ void init(int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(this)), "r"(arrivals) : "memory");
  }
  // Release: what the thread wrote before is seen by who waits.
  __device__ __forceinline__ void arrive() {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(this)) : "memory");
  }
  // Arrives too, and keeps the phase open until so many more bytes have landed.
  __device__ __forceinline__ void arrive_and_expect(int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(this)), "r"(bytes)
                 : "memory");
  }
  // Until the phase of this parity is over; phases count from 0. A new barrier passes at once for parity 1.
  __device__ __forceinline__ void wait(int parity) {
    std::uint32_t over = 0;
    while (over == 0)
      asm volatile(
          "{\n"
          ".reg .pred over;\n"
          "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
          "selp.u32 %0, 1, 0, over;\n"
          "}\n"
          : "=r"(over)
          : "r"(shared_address(this)), "r"(parity)
          : "memory");
  }
};

// Between init() and the block's barrier: makes new barriers known to the copy engine.
__device__ __forceinline__ void fence_barrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// Between ordinary accesses to shared memory and those of the copy engine or the tensor cores, in each thread that made
// them and before the barrier that hands the memory over (PTX ISA, "Async proxy").
__device__ __forceinline__ void fence_async_shared() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

}  // namespace longspan::cuda
