#include "kernels/ops/whole_attention.h"

#include "kernels/ops/checks.h"
#include "kernels/ops/cuda_list.h"

namespace longspan {

std::span<const WholeAttentionOp* const> whole_attention_ops() {
  return cuda::whole_attention_ops();
}

bool whole_attention_forward(const Exec& exec, const WholeAttention& args) {
  const auto ops = whole_attention_ops();
  if (ops.empty() || args.tasks.empty()) return false;
  const OperandChecks checks("whole_attention_forward", exec);
  const AttentionDesc& desc = args.desc;
  const std::int64_t rows = args.q.shape[0], keys = args.k.shape[0];
  checks.expect("q", args.q, desc.dtype, {rows, desc.heads, desc.head_dim}, Strides::kRows);
  checks.expect("k", args.k, desc.dtype, {keys, desc.kv_heads, desc.head_dim}, Strides::kRows);
  checks.expect("v", args.v, desc.dtype, {keys, desc.kv_heads, desc.value_dim}, Strides::kRows);
  checks.expect("out", args.out, desc.dtype, {rows, desc.heads, desc.value_dim}, Strides::kRows);
  checks.expect("lse", args.lse, DType::kF32, {rows, desc.heads}, Strides::kRows);
  std::string refused;
  for (const WholeAttentionOp* op : ops) {
    const Refusal reason = op->why_unsupported(exec, args);
    if (!reason) {
      log_choice("whole attention", desc.describe(), op->name(), refused);
      op->forward(exec, args);
      return true;
    }
    refused += fmt::format("; {}: {}", op->name(), *reason);
  }
  log_choice("whole attention", desc.describe(), "none, tasks instead", refused);
  return false;
}

}  // namespace longspan
