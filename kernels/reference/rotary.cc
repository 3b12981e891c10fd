#include "kernels/reference/rotary.h"

#include <cmath>

#include "kernels/ops/kernel_list.h"
#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

void run_table(const Exec&, const RotaryTable& args) {
  const auto half = static_cast<std::int64_t>(args.inverse_frequency.size());
  for (std::int64_t i = 0; i < args.cos.numel(); ++i) {
    const double angle =
        args.positions.get<std::int32_t>()[i / half] * static_cast<double>(args.inverse_frequency[i % half]);
    store(args.cos, i, std::cos(angle) * args.attention_factor);
    store(args.sin, i, std::sin(angle) * args.attention_factor);
  }
}

void run(const Exec&, const Rotary& args) {
  std::vector<double> x = load_all(args.x);
  const std::vector<double> cos = load_all(args.cos), sin = load_all(args.sin);
  const std::int64_t tokens = args.x.size(0), heads = args.x.size(1), half = args.x.size(2) / 2;
  const double turn = args.direction == RotaryDirection::kForward ? 1 : -1;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t h = 0; h < heads; ++h)
      rotary_row(x.data() + (t * heads + h) * 2 * half, cos.data() + t * half, sin.data() + t * half, half, turn);
  store_all(args.x, x);
}

}  // namespace

const Kernel<RotaryTable> kRotaryTable{"reference", needs_cpu, run_table};
const Kernel<Rotary> kRotary{"reference", needs_cpu, run};

}  // namespace longspan::reference
