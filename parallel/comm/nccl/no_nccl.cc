// Stands in for nccl_library.cc where CUDA or NCCL is not built.
#include "parallel/comm/nccl/nccl_api.h"

namespace longspan {

NcclApi* nccl_library() {
  return nullptr;
}

}  // namespace longspan
