#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {

double sum_of_squares(const Exec& exec, const Tensor& x) {
  OperandChecks("sum_of_squares", exec).expect_like("x", x, DType::kF32, x);
  return choose_kernel<SumOfSquares>("sum_of_squares", exec, DType::kF32).run(exec, {x});
}

}  // namespace longspan
