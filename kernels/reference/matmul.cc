#include "kernels/ops/kernel_list.h"
#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

void run(const Exec&, const Matmul& args) {
  const std::vector<double> a = load_all(args.a), b = load_all(args.b);
  const std::int64_t m = args.c.size(0), n = args.c.size(1);
  const bool a_plain = args.a_layout == Layout::kPlain, b_plain = args.b_layout == Layout::kPlain;
  const std::int64_t k = args.a.size(a_plain ? 1 : 0);
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = args.mode == WriteMode::kAccumulate ? load(args.c, i * n + j) : 0;
      if (args.residual) sum += load(args.residual, i * n + j);
      if (args.bias) sum += load(args.bias, j);
      for (std::int64_t l = 0; l < k; ++l)
        sum += a[a_plain ? i * k + l : l * m + i] * b[b_plain ? l * n + j : j * k + l];
      store(args.c, i * n + j, sum);
    }
}

}  // namespace

const Kernel<Matmul> kMatmul{"reference", needs_cpu, run};

}  // namespace longspan::reference
