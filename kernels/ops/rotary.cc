#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {

void rotary_table(const Exec& exec, const Tensor& positions, std::span<const float> inverse_frequency,
                  float attention_factor, const Tensor& cos, const Tensor& sin) {
  const OperandChecks checks("rotary_table", exec);
  checks.expect("positions", positions, DType::kI32, {positions.numel()});
  const auto pairs = static_cast<std::int64_t>(inverse_frequency.size());
  checks.expect("cos", cos, DType::kF32, {positions.size(0), pairs});
  checks.expect("sin", sin, DType::kF32, {positions.size(0), pairs});
  choose_kernel<RotaryTable>("rotary_table", exec, DType::kF32)
      .run(exec, {positions, inverse_frequency, attention_factor, cos, sin});
}

void rotary(const Exec& exec, const Tensor& x, const Tensor& cos, const Tensor& sin, RotaryDirection direction) {
  const OperandChecks checks("rotary", exec);
  checks.expect_float("x", x, 3, 3);
  LS_CHECK(x.size(2) % 2 == 0, "rotary: head_dim of x {} is odd, it is turned in pairs", x.describe());
  checks.expect("cos", cos, DType::kF32, {x.size(0), x.size(2) / 2});
  checks.expect("sin", sin, DType::kF32, {x.size(0), x.size(2) / 2});
  choose_kernel<Rotary>("rotary", exec, x.dtype).run(exec, {x, cos, sin, direction});
}

}  // namespace longspan
