#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {

void head_loss(const Exec& exec, const HeadLoss& args) {
  const OperandChecks checks("head_loss", exec);
  checks.expect_float("hidden", args.hidden, 2, 2);
  checks.expect_float("weight", args.weight, 2, 2);
  const std::int64_t tokens = args.hidden.size(0), width = args.hidden.size(1), vocab = args.weight.size(0);
  checks.expect("weight", args.weight, args.hidden.dtype, {vocab, width}, Strides::kRows);
  checks.expect("labels", args.labels, DType::kI32, {tokens});
  LS_CHECK(static_cast<bool>(args.dhidden) == static_cast<bool>(args.dweight),
           "head_loss: dhidden {} and dweight {} go together", args.dhidden.describe(), args.dweight.describe());
  checks.expect("totals", args.totals, DType::kF64, {2});
  LS_CHECK(args.chunk_tokens > 0, "head_loss: chunk_tokens is {}", args.chunk_tokens);
  if (args.dhidden) {
    checks.expect_like("dhidden", args.dhidden, args.hidden.dtype, args.hidden);
    checks.expect("dweight", args.dweight, DType::kF32, {vocab, width}, Strides::kRows);
    checks.expect_apart("dhidden", args.dhidden, "hidden", args.hidden);
  }
  checks.expect_between("label", args.labels, -1, vocab - 1);
  choose_kernel<HeadLoss>("head_loss", exec, args.hidden.dtype).run(exec, args);
}

}  // namespace longspan
