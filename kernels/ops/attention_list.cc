#include "kernels/ops/attention_list.h"

#include <array>

namespace longspan {

std::span<const AttentionOp* const> attention_ops() {
  static const std::array<const AttentionOp*, 2> kList = {&cpu::blocked_attention(), &reference::attention()};
  return kList;
}

}  // namespace longspan
