#include "kernels/ops/kernel_list.h"
#include "kernels/reference/cross_entropy.h"
#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

void run(const Exec&, const HeadLoss& args) {
  const std::vector<double> hidden = load_all(args.hidden), weight = load_all(args.weight);
  const std::int64_t width = args.hidden.size(1), vocab = args.weight.size(0);
  const auto* label = args.labels.get<std::int32_t>();
  std::vector<double> dhidden(hidden.size()), dweight(weight.size()), logits(vocab), dlogits(vocab);
  double loss_sum = 0, num_tokens = 0;
  for (std::int64_t t = 0; t < args.labels.numel(); ++t) {
    if (label[t] < 0) continue;
    const double* h = hidden.data() + t * width;
    for (std::int64_t j = 0; j < vocab; ++j) {
      logits[j] = 0;
      for (std::int64_t e = 0; e < width; ++e) logits[j] += h[e] * weight[j * width + e];
    }
    loss_sum += cross_entropy(logits.data(), vocab, label[t]);
    ++num_tokens;
    cross_entropy_gradient(logits.data(), vocab, label[t], dlogits.data());
    for (std::int64_t j = 0; j < vocab; ++j)
      for (std::int64_t e = 0; e < width; ++e) {
        const double scaled = dlogits[j] * args.grad_scale;
        dhidden[t * width + e] += scaled * weight[j * width + e];
        dweight[j * width + e] += scaled * h[e];
      }
  }
  if (args.dhidden) {
    store_all(args.dhidden, dhidden);
    add_all(args.dweight, dweight);
  }
  args.totals.get<double>()[0] += loss_sum;
  args.totals.get<double>()[1] += num_tokens;
}

}  // namespace

const Kernel<HeadLoss> kHeadLoss{"reference", needs_cpu, run};

}  // namespace longspan::reference
