// Launching kernels, what the device offers them, and their dynamic shared memory.
#pragma once

#include <cstdint>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "device/platform.cuh"
#include "kernels/core/error.h"
#include "kernels/core/exec.h"
#include "kernels/cuda/emulated/block.h"
#include "kernels/cuda/emulated/grid.h"
#include "kernels/cuda/emulated/memory.h"

namespace longspan::cuda {

namespace emulated {

// A pointer among the arguments, not within one, is null or the device's.
template <class T>
void check_argument(std::string_view kernel, const T& argument) {
  if constexpr (std::is_pointer_v<T>)
    LS_CHECK(!argument || is_device_memory(argument, 0), "kernel {} is given a pointer to host memory", kernel);
}

}  // namespace emulated

struct Launch {
  dim3 grid{1}, block{1};
  std::int64_t shared_bytes = 0;  // dynamic
};

// Queues a kernel on exec.stream; arguments are copied. A grid without blocks is no launch. Throws Error(kEnvironment)
// naming kernel, grid, block and bytes.
template <class... P, class... A>
void launch(const Exec& exec, std::string_view name, const Launch& how, void (*kernel)(P...), A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "as many arguments as the kernel has parameters");
  if (how.grid.x == 0 || how.grid.y == 0 || how.grid.z == 0) return;
  (emulated::check_argument(name, arguments), ...);
  emulated::enqueue_grid(exec, {std::string(name), how.grid, how.block, how.shared_bytes},
                         [kernel, values = std::tuple<std::remove_cvref_t<P>...>(std::forward<A>(arguments)...)] {
                           std::apply(kernel, values);
                         });
}

struct DeviceProperties {
  int multiprocessors = 0;
  std::int64_t shared_bytes_per_block = 0;  // at most, dynamic
  std::int64_t l2_bytes = 0;
  int compute_capability = 0;  // 80, 90
};
const DeviceProperties& properties_of(const Exec& exec);
// Of the calling thread's current device; 0 where there is none. Does not throw: for those who refuse.
int current_capability();

// The block's dynamic shared memory, aligned to 1024 bytes.
__device__ inline unsigned char* dynamic_shared() {
  return reinterpret_cast<unsigned char*>(emulated::Block::current().dynamic_shared());
}

}  // namespace longspan::cuda
