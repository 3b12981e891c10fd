#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {

void sum_of_squares(const Exec& exec, const Tensor& x, const Tensor& out) {
  const OperandChecks checks("sum_of_squares", exec);
  checks.expect_like("x", x, DType::kF32, x);
  checks.expect("out", out, DType::kF64, {1});
  choose_kernel<SumOfSquares>("sum_of_squares", exec, DType::kF32).run(exec, {x, out});
}

}  // namespace longspan
