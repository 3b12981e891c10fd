// Copies from global to shared memory beside the thread's work (compute capability 8.0). Here they land as late as
// they may: when the thread waits for them.
#pragma once

#include <cstring>
#include <deque>
#include <vector>

#include "device/platform.cuh"
#include "kernels/core/error.h"
#include "kernels/cuda/emulated/block.h"

namespace longspan::cuda {

namespace emulated {

struct PendingCopies {
  struct Copy {
    void* to;
    const void* from;
    bool zero;
  };
  std::deque<std::vector<Copy>> groups{1};  // the last is not committed yet

  void land_all_but(std::size_t num_groups) {
    for (; groups.size() > num_groups + 1; groups.pop_front())
      for (const Copy& copy : groups.front()) {
        if (copy.zero)
          std::memset(copy.to, 0, 16);
        else
          std::memcpy(copy.to, copy.from, 16);
      }
  }
};

}  // namespace emulated

// 16 bytes; both addresses are multiples of 16. valid_bytes 0: zeros, and nothing is read; else 16.
__device__ inline void copy_async_16(void* shared, const void* global, int valid_bytes) {
  emulated::Block& block = emulated::Block::current();
  const bool aligned = reinterpret_cast<std::uintptr_t>(shared) % 16 == 0 &&
                       (valid_bytes == 0 || reinterpret_cast<std::uintptr_t>(global) % 16 == 0);
  LS_CHECK(aligned && (valid_bytes == 0 || valid_bytes == 16), "{}: copy_async_16 of {} bytes from {} to {}",
           block.describe(), valid_bytes, global, shared);
  block.thread_state<emulated::PendingCopies>().groups.back().push_back({shared, global, valid_bytes == 0});
}
// What this thread has asked for since the last time becomes one group.
__device__ inline void commit_copies() {
  emulated::Block::current().thread_state<emulated::PendingCopies>().groups.emplace_back();
}
// All of this thread's groups but the last N have landed. Other threads see that after a barrier.
template <int N>
__device__ void wait_copies() {
  emulated::Block::current().thread_state<emulated::PendingCopies>().land_all_but(N);
}

}  // namespace longspan::cuda
