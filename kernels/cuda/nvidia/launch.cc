#include "device/launch.cuh"

#include <array>
#include <mutex>

#include "kernels/cuda/runtime/status.h"

namespace longspan::cuda {
namespace {

constexpr std::int64_t kSharedBytesWithoutAsking = 48 * 1024;

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  expect_success(cudaDeviceGetAttribute(&value, which, device), "say what the GPU has");
  return value;
}

DeviceProperties read_properties(int device) {
  return {.multiprocessors = attribute(cudaDevAttrMultiProcessorCount, device),
          .shared_bytes_per_block = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
          .l2_bytes = attribute(cudaDevAttrL2CacheSize, device),
          .compute_capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor, device) +
                                attribute(cudaDevAttrComputeCapabilityMinor, device)};
}

}  // namespace

const DeviceProperties& properties_of(const Exec&) {
  constexpr int kMaxDevices = 64;
  static std::array<std::once_flag, kMaxDevices> read;
  static std::array<DeviceProperties, kMaxDevices> properties;
  int device = 0;  // the calling thread's, which Exec's runtime made current
  expect_success(cudaGetDevice(&device), "name the current GPU");
  LS_CHECK(device < kMaxDevices, "GPU {}", device);
  const auto place = static_cast<std::size_t>(device);
  std::call_once(read[place], [&] { properties[place] = read_properties(device); });
  return properties[place];
}

int current_capability() {
  int device = 0, major = 0, minor = 0;
  const bool answers = cudaGetDevice(&device) == cudaSuccess &&
                       cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
                       cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess;
  if (answers) return 10 * major + minor;
  cudaGetLastError();  // that there is none is the answer; it must not surface at a later call
  return 0;
}

void detail::launch_kernel(const Exec& exec, std::string_view name, const Launch& how, const void* kernel,
                           void** arguments) {
  cudaError_t status = cudaSuccess;
  if (how.shared_bytes > kSharedBytesWithoutAsking)
    status =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(how.shared_bytes));
  if (status == cudaSuccess)
    status = cudaLaunchKernel(kernel, how.grid, how.block, arguments, static_cast<std::size_t>(how.shared_bytes),
                              static_cast<cudaStream_t>(exec.stream.handle));
  if (status == cudaSuccess) return;
  expect_success(status, fmt::format("launch kernel {} with grid ({}, {}, {}), block ({}, {}, {}), {} bytes of shared "
                                     "memory",
                                     name, how.grid.x, how.grid.y, how.grid.z, how.block.x, how.block.y, how.block.z,
                                     how.shared_bytes));
}

}  // namespace longspan::cuda
