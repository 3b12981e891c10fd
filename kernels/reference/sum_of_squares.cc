#include "kernels/ops/kernel_list.h"
#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

double run(const Exec&, const SumOfSquares& args) {
  double sum = 0;
  for (std::int64_t i = 0; i < args.x.numel(); ++i) sum += load(args.x, i) * load(args.x, i);
  return sum;
}

}  // namespace

const Kernel<SumOfSquares> kSumOfSquares{"reference", needs_cpu, run};

}  // namespace longspan::reference
