#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {

void embedding_forward(const Exec& exec, const Tensor& tokens, const Tensor& table, const Tensor& out) {
  const OperandChecks checks("embedding_forward", exec);
  checks.expect_float("table", table, 2, 2);
  checks.expect("tokens", tokens, DType::kI32, {tokens.numel()});
  checks.expect("out", out, table.dtype, {tokens.size(0), table.size(1)}, Strides::kRows);
  checks.expect_between("token", tokens, 0, table.size(0) - 1);
  choose_kernel<EmbeddingForward>("embedding_forward", exec, table.dtype).run(exec, {tokens, table, out});
}

void embedding_backward(const Exec& exec, const Tensor& tokens, const Tensor& dout, const Tensor& dtable) {
  const OperandChecks checks("embedding_backward", exec);
  checks.expect_float("dout", dout, 2, 2);
  checks.expect("tokens", tokens, DType::kI32, {dout.size(0)});
  checks.expect_float("dtable", dtable, 2, 2);
  checks.expect("dtable", dtable, DType::kF32, {dtable.size(0), dout.size(1)}, Strides::kRows);
  checks.expect_between("token", tokens, 0, dtable.size(0) - 1);
  choose_kernel<EmbeddingBackward>("embedding_backward", exec, dout.dtype).run(exec, {tokens, dout, dtable});
}

}  // namespace longspan
