#include "kernels/ops/attention_list.h"

#include <vector>

#include "kernels/ops/cuda_list.h"

namespace longspan {

std::span<const AttentionOp* const> attention_ops() {
  static const std::vector<const AttentionOp*> kList = [] {
    const auto on_gpu = cuda::attention_ops();
    std::vector<const AttentionOp*> all(on_gpu.begin(), on_gpu.end());
    all.push_back(&cpu::blocked_attention());
    all.push_back(&reference::attention());
    return all;
  }();
  return kList;
}

}  // namespace longspan
