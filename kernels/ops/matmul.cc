#include "kernels/ops/matmul.h"

#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {

void matmul(const Exec& exec, const Matmul& args) {
  const OperandChecks checks("matmul", exec);
  checks.expect_float("a", args.a, 2, 2);
  checks.expect_float("b", args.b, 2, 2);
  checks.expect_float("c", args.c, 2, 2);
  const std::int64_t m = args.c.size(0), n = args.c.size(1);
  const bool a_plain = args.a_layout == Layout::kPlain, b_plain = args.b_layout == Layout::kPlain;
  const std::int64_t k = args.a.size(a_plain ? 1 : 0);
  LS_CHECK(args.a.size(a_plain ? 0 : 1) == m && args.b.size(b_plain ? 0 : 1) == k && args.b.size(b_plain ? 1 : 0) == n,
           "matmul: a {}{} . b {}{} does not give c {}", args.a.describe(), a_plain ? "" : "^T", args.b.describe(),
           b_plain ? "" : "^T", args.c.describe());
  LS_CHECK(args.a.dtype == args.b.dtype, "matmul: a {} and b {} differ in dtype", args.a.describe(), args.b.describe());
  if (args.bias) checks.expect("bias", args.bias, args.a.dtype, {n});
  if (args.residual) {
    checks.expect_like("residual", args.residual, args.c.dtype, args.c);
    checks.expect_apart("c", args.c, "residual", args.residual);
    LS_CHECK(args.mode == WriteMode::kOverwrite, "matmul: residual {} added to a result that is accumulated",
             args.residual.describe());
  }
  checks.expect_apart("c", args.c, "a", args.a);
  checks.expect_apart("c", args.c, "b", args.b);
  choose_kernel<Matmul>("matmul", exec, args.a.dtype, args.c.dtype).run(exec, args);
}

std::string describe_matmul_hardware() {
  const auto chosen = [](DType dtype) {
    return choose("matmul", kernels_of<Matmul>(), KernelDesc{Device::kCpu, dtype, dtype}).name();
  };
  return fmt::format("{}; fp32 products: {}; bf16 products: {}", cpu::matmul_instruction_set(), chosen(DType::kF32),
                     chosen(DType::kBF16));
}

}  // namespace longspan
