// Launching kernels, what the device offers them, and their dynamic shared memory.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "device/platform.cuh"
#include "kernels/core/exec.h"

namespace longspan::cuda {

struct Launch {
  dim3 grid{1}, block{1};
  std::int64_t shared_bytes = 0;  // dynamic
};

namespace detail {
void launch_kernel(const Exec& exec, std::string_view name, const Launch& how, const void* kernel, void** arguments);

template <class... P>
void launch_values(const Exec& exec, std::string_view name, const Launch& how, void (*kernel)(P...), P... values) {
  void* addresses[] = {&values..., nullptr};  // the last so that there is always one
  launch_kernel(exec, name, how, reinterpret_cast<const void*>(kernel), addresses);
}
}  // namespace detail

// Queues a kernel on exec.stream; arguments are copied. A grid without blocks is no launch. Throws Error(kEnvironment)
// naming kernel, grid, block and bytes.
template <class... P, class... A>
void launch(const Exec& exec, std::string_view name, const Launch& how, void (*kernel)(P...), A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "as many arguments as the kernel has parameters");
  if (how.grid.x == 0 || how.grid.y == 0 || how.grid.z == 0) return;
  detail::launch_values<P...>(exec, name, how, kernel, std::forward<A>(arguments)...);
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
  extern __shared__ __align__(1024) unsigned char longspan_dynamic_shared[];
  return longspan_dynamic_shared;
}

}  // namespace longspan::cuda
