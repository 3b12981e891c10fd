#include "kernels/cuda/device.h"

namespace longspan {

std::unique_ptr<DeviceRuntime> make_device_runtime(int ordinal) {
  fail(ErrorKind::kUnsupported,
       "GPU {} cannot be used: built without CUDA; configure with the preset cuda or set run.device: cpu", ordinal);
}

}  // namespace longspan
