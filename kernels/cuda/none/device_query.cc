#include "kernels/cuda/device_query.h"

namespace longspan {

CudaDevices query_cuda_devices() {
  return {{}, "built without CUDA"};
}

}  // namespace longspan
