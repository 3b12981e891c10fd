#include <cuda_runtime.h>

#include "kernels/cuda/device_query.h"

namespace longspan {
namespace {

// Whether the driver finds code of this for a GPU is whether it finds code of any kernel of this build.
__global__ void probe() {}

bool runs_here(int ordinal) {
  cudaFuncAttributes attributes;
  const bool runs = cudaSetDevice(ordinal) == cudaSuccess && cudaFuncGetAttributes(&attributes, probe) == cudaSuccess;
  cudaGetLastError();  // a refusal is the answer; it must not surface at a later, unrelated call
  return runs;
}

}  // namespace

CudaDevices query_cuda_devices() {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) return {{}, "no CUDA driver is installed"};
  int count = 0;  // left unwritten where the call fails
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
    cudaGetLastError();
    return {{}, std::string("CUDA finds no GPU: ") + cudaGetErrorString(status)};
  }
  int selected = 0;
  const bool had_selected = cudaGetDevice(&selected) == cudaSuccess;
  CudaDevices devices;
  std::string refused;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, ordinal) != cudaSuccess) continue;
    if (runs_here(ordinal)) {
      devices.names.emplace_back(properties.name);
    } else {
      refused += (refused.empty() ? "" : ", ") + std::string(properties.name) + " (compute capability " +
                 std::to_string(properties.major) + "." + std::to_string(properties.minor) + ")";
    }
  }
  if (had_selected) cudaSetDevice(selected);
  cudaGetLastError();
  if (devices.names.empty()) {
    devices.why_none =
        refused.empty() ? "the CUDA driver lists no GPU that answers" : "this build holds no code for " + refused;
  }
  return devices;
}

}  // namespace longspan
