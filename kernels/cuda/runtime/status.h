// CUDA's answers turned into errors of the house.
#pragma once

#include <cuda_runtime_api.h>
#include <string_view>

#include "kernels/core/error.h"

namespace longspan::cuda {

// Throws Error(kEnvironment) unless the call succeeded: what was attempted, then CUDA's own words.
inline void expect_success(cudaError_t status, std::string_view attempt) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // thrown here; it must not surface at a later, unrelated call
  fail(ErrorKind::kEnvironment, "CUDA cannot {}: {} ({})", attempt, cudaGetErrorString(status),
       cudaGetErrorName(status));
}

}  // namespace longspan::cuda
