#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {

void adamw(const Exec& exec, const AdamW& args) {
  const OperandChecks checks("adamw", exec);
  checks.expect_like("weight", args.weight, DType::kF32, args.weight, Strides::kContiguous);
  const std::int64_t count = args.weight.numel();
  const auto expect_as_many = [&](std::string_view name, const Tensor& tensor) {
    LS_CHECK(tensor.numel() == count, "adamw: {} {} has not the {} elements of the weight {}", name, tensor.describe(),
             count, args.weight.describe());
    checks.expect_like(name, tensor, tensor.dtype, tensor, Strides::kContiguous);
  };
  for (const auto& [name, tensor] : {std::pair{"grad", args.grad}, std::pair{"m", args.m}, std::pair{"v", args.v}}) {
    expect_as_many(name, tensor);
    LS_CHECK(tensor.dtype == DType::kF32, "adamw: {} is {}, expected fp32", name, tensor.describe());
  }
  if (args.compute_copy) {
    checks.expect_float("compute_copy", args.compute_copy, 1, Tensor::kMaxDims);
    expect_as_many("compute_copy", args.compute_copy);
  }
  LS_CHECK(args.step >= 1, "adamw: step {}, steps are counted from 1", args.step);
  choose_kernel<AdamW>("adamw", exec, args.compute_copy ? args.compute_copy.dtype : DType::kF32).run(exec, args);
}

}  // namespace longspan
