// What GPUs this process can use, or why none: decides what `run.device: auto` means and what start-up lines say.
#pragma once

#include <string>
#include <vector>

namespace longspan {

struct CudaDevices {
  std::vector<std::string> names;  // of the GPUs this build's kernels run on, in the order of their ordinals
  std::string why_none;            // empty exactly when there is one
};

// Asks the driver each time. Having no GPU, no driver or no CUDA build is an answer, not an error; does not throw.
CudaDevices query_cuda_devices();

}  // namespace longspan
