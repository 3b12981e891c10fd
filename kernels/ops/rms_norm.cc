#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {
namespace {

// [T] for x [T,E], [T,H] for x [T,H,D].
void expect_statistics(const OperandChecks& checks, const Tensor& rstd, const Tensor& x) {
  if (x.dims == 2)
    checks.expect("rstd", rstd, DType::kF32, {x.size(0)});
  else
    checks.expect("rstd", rstd, DType::kF32, {x.size(0), x.size(1)});
}

}  // namespace

void rms_norm_forward(const Exec& exec, const RmsNormForward& args) {
  const OperandChecks checks("rms_norm_forward", exec);
  checks.expect_float("x", args.x, 2, 3);
  checks.expect("weight", args.weight, args.x.dtype, {args.x.size(args.x.dims - 1)});
  checks.expect_like("y", args.y, args.x.dtype, args.x);
  if (args.rstd) expect_statistics(checks, args.rstd, args.x);
  choose_kernel<RmsNormForward>("rms_norm_forward", exec, args.x.dtype).run(exec, args);
}

void rms_norm_backward(const Exec& exec, const RmsNormBackward& args) {
  const OperandChecks checks("rms_norm_backward", exec);
  checks.expect_float("x", args.x, 2, 3);
  const std::int64_t width = args.x.size(args.x.dims - 1);
  checks.expect("weight", args.weight, args.x.dtype, {width});
  expect_statistics(checks, args.rstd, args.x);
  checks.expect_like("dy", args.dy, args.x.dtype, args.x);
  checks.expect_like("dx", args.dx, args.x.dtype, args.x);
  checks.expect("dweight", args.dweight, DType::kF32, {width});
  choose_kernel<RmsNormBackward>("rms_norm_backward", exec, args.x.dtype).run(exec, args);
}

}  // namespace longspan
