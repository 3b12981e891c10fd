#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {

void add(const Exec& exec, const Tensor& a, const Tensor& b, const Tensor& out) {
  const OperandChecks checks("add", exec);
  checks.expect_float("a", a, 1, Tensor::kMaxDims);
  checks.expect_like("b", b, a.dtype, a);
  checks.expect_like("out", out, a.dtype, a);
  choose_kernel<Add>("add", exec, a.dtype).run(exec, {a, b, out});
}

void cast(const Exec& exec, const Tensor& in, const Tensor& out) {
  const OperandChecks checks("cast", exec);
  checks.expect_float("in", in, 1, Tensor::kMaxDims);
  checks.expect_float("out", out, 1, Tensor::kMaxDims);
  checks.expect_like("out", out, out.dtype, in);
  choose_kernel<Cast>("cast", exec, in.dtype, out.dtype).run(exec, {in, out});
}

void add_row_sum(const Exec& exec, const Tensor& x, const Tensor& out) {
  const OperandChecks checks("add_row_sum", exec);
  checks.expect_float("x", x, 2, 2);
  checks.expect("out", out, DType::kF32, {x.size(1)});
  choose_kernel<AddRowSum>("add_row_sum", exec, x.dtype).run(exec, {x, out});
}

void fill_zero(const Exec& exec, const Tensor& out) {
  const OperandChecks checks("fill_zero", exec);
  checks.expect_like("out", out, out.dtype, out);
  choose_kernel<FillZero>("fill_zero", exec, out.dtype).run(exec, {out});
}

}  // namespace longspan
