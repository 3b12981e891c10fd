// Launches on the emulated GPU.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "kernels/core/exec.h"
#include "kernels/cuda/emulated/device/platform.cuh"

namespace longspan::cuda::emulated {

struct Grid {
  std::string kernel;
  dim3 grid, block;
  std::int64_t shared_bytes = 0;
};

// Queues the blocks on exec.stream. `thread` is run once for each thread.
void enqueue_grid(const Exec& exec, const Grid& grid, std::function<void()> thread);

}  // namespace longspan::cuda::emulated
