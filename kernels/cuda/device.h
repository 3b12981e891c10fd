// A GPU as a DeviceRuntime; device_query.h says which there are.
#pragma once

#include <memory>

#include "kernels/core/device_runtime.h"

namespace longspan {

// The GPU of that ordinal (a place in CudaDevices::names), current for the calling thread. One a rank; ranks that are
// threads may make several of one ordinal. Throws Error(kEnvironment) where the GPU cannot be used, Error(kUnsupported)
// where CUDA is not built.
std::unique_ptr<DeviceRuntime> make_device_runtime(int ordinal);

}  // namespace longspan
