#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {

void swiglu_forward(const Exec& exec, const Tensor& gate, const Tensor& up, const Tensor& out) {
  const OperandChecks checks("swiglu_forward", exec);
  checks.expect_float("gate", gate, 2, 2);
  checks.expect_like("up", up, gate.dtype, gate);
  checks.expect_like("out", out, gate.dtype, gate);
  choose_kernel<SwigluForward>("swiglu_forward", exec, gate.dtype).run(exec, {gate, up, out});
}

void swiglu_backward(const Exec& exec, const Tensor& gate, const Tensor& up, const Tensor& dout, const Tensor& dgate,
                     const Tensor& dup) {
  const OperandChecks checks("swiglu_backward", exec);
  checks.expect_float("gate", gate, 2, 2);
  checks.expect_like("up", up, gate.dtype, gate);
  checks.expect_like("dout", dout, gate.dtype, gate);
  checks.expect_like("dgate", dgate, gate.dtype, gate);
  checks.expect_like("dup", dup, gate.dtype, gate);
  choose_kernel<SwigluBackward>("swiglu_backward", exec, gate.dtype).run(exec, {gate, up, dout, dgate, dup});
}

}  // namespace longspan
