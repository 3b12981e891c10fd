// A build without cuDNN, or without its C++ front end, has no library of attention.
#include "kernels/ops/cuda_list.h"

namespace longspan::cuda {

std::span<const WholeAttentionOp* const> whole_attention_ops() {
  return {};
}

}  // namespace longspan::cuda
