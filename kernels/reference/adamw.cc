#include "kernels/reference/adamw.h"

#include "kernels/ops/kernel_list.h"
#include "kernels/reference/elements.h"
#include "kernels/reference/stochastic_rounding.h"

namespace longspan::reference {
namespace {

void run(const Exec&, const AdamW& args) {
  const auto count = static_cast<double>(args.step);
  const AdamWStep step{args.lr,
                       args.beta1,
                       args.beta2,
                       args.eps,
                       args.weight_decay,
                       1 - std::pow(args.beta1, count),
                       1 - std::pow(args.beta2, count)};
  for (std::int64_t i = 0; i < args.weight.numel(); ++i) {
    double weight = load(args.weight, i), m = load(args.m, i), v = load(args.v, i);
    adamw_element(step, load(args.grad, i) * args.grad_scale, &weight, &m, &v);
    store(args.weight, i, weight);
    store(args.m, i, m);
    store(args.v, i, v);
    if (!args.compute_copy) continue;
    weight = load(args.weight, i);
    if (args.compute_copy.dtype == DType::kBF16 && args.copy_rounding == CopyRounding::kStochastic)
      weight = static_cast<float>(round_stochastically(static_cast<float>(weight), args.rounding_seed, i));
    store(args.compute_copy, i, weight);
  }
}

}  // namespace

const Kernel<AdamW> kAdamw{"reference", needs_cpu, run};

}  // namespace longspan::reference
