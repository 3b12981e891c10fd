#include "kernels/cuda/emulated/grid.h"

#include "kernels/core/error.h"
#include "kernels/cuda/emulated/device/launch.cuh"
#include "kernels/cuda/emulated/grid_run.h"
#include "kernels/cuda/emulated/runtime.h"

namespace longspan::cuda::emulated {
namespace {

constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kMaxGridYZ = 65535;

void check_shape(const Grid& grid) {
  const dim3 g = grid.grid, b = grid.block;
  const bool fits = g.x <= 0x7fffffffu && g.y <= kMaxGridYZ && g.z <= kMaxGridYZ && b.x * b.y * b.z >= 1 &&
                    b.x * b.y * b.z <= kMaxThreads && grid.shared_bytes >= 0;
  LS_REQUIRE(kEnvironment, fits,
             "kernel {} cannot be launched with grid ({}, {}, {}), block ({}, {}, {}), {} bytes of shared memory",
             grid.kernel, g.x, g.y, g.z, b.x, b.y, b.z, grid.shared_bytes);
}

}  // namespace

void enqueue_grid(const Exec& exec, const Grid& grid, std::function<void()> thread) {
  auto* runtime = dynamic_cast<EmulatedRuntime*>(exec.runtime);
  LS_CHECK(runtime, "kernel {} is launched on {}", grid.kernel, exec.runtime->name());
  check_shape(grid);
  runtime->enqueue(exec.stream, [grid, thread = std::move(thread)] { GridRun(grid, thread, thread_order()).run(); });
}

}  // namespace longspan::cuda::emulated

namespace longspan::cuda {

// Small, so that loops over more work than one wave of blocks are met in tests.
const DeviceProperties& properties_of(const Exec&) {
  static constexpr DeviceProperties kProperties{
      .multiprocessors = 4, .shared_bytes_per_block = 227 * 1024, .l2_bytes = 1 << 20, .compute_capability = 90};
  return kProperties;
}

int current_capability() {
  return properties_of({}).compute_capability;
}

}  // namespace longspan::cuda
