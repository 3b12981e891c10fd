#include "kernels/ops/kernel_list.h"
#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

void run(const Exec&, const SumOfSquares& args) {
  long double sum = 0;  // one running sum of many terms: the other implementations' partial sums lose less
  for (std::int64_t i = 0; i < args.x.numel(); ++i) sum += load(args.x, i) * load(args.x, i);
  *args.out.get<double>() += static_cast<double>(sum);
}

}  // namespace

const Kernel<SumOfSquares> kSumOfSquares{"reference", needs_cpu, run};

}  // namespace longspan::reference
