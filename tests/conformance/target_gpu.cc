// Conformance of what runs on GPUs, on GPU 0.
#include "kernels/cuda/device.h"
#include "tests/conformance/target.h"

namespace longspan::testing {

Device target_device() {
  return Device::kCuda;
}
DeviceRuntime& target_runtime() {
  static const std::unique_ptr<DeviceRuntime> runtime = make_device_runtime(0);
  return *runtime;
}

}  // namespace longspan::testing
