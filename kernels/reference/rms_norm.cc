#include "kernels/reference/rms_norm.h"

#include "kernels/ops/kernel_list.h"
#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

void run_forward(const Exec&, const RmsNormForward& args) {
  const std::vector<double> x = load_all(args.x), weight = load_all(args.weight);
  const std::int64_t width = args.weight.numel(), rows = width ? args.x.numel() / width : 0;
  std::vector<double> y(x.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    rms_norm_row(&x[r * width], weight.data(), &y[r * width], width, args.eps);
    if (args.rstd) store(args.rstd, r, rms_norm_rstd(&x[r * width], width, args.eps));
  }
  store_all(args.y, y);
}

void run_backward(const Exec&, const RmsNormBackward& args) {
  const std::vector<double> x = load_all(args.x), weight = load_all(args.weight), dy = load_all(args.dy);
  const std::int64_t width = args.weight.numel(), rows = width ? args.x.numel() / width : 0;
  std::vector<double> dx(x.size()), dweight(weight.size());
  for (std::int64_t r = 0; r < rows; ++r)
    rms_norm_row_backward(&x[r * width], weight.data(), load(args.rstd, r), &dy[r * width], &dx[r * width],
                          dweight.data(), width);
  store_all(args.dx, dx);
  add_all(args.dweight, dweight);
}

}  // namespace

const Kernel<RmsNormForward> kRmsNormForward{"reference", needs_cpu, run_forward};
const Kernel<RmsNormBackward> kRmsNormBackward{"reference", needs_cpu, run_backward};

}  // namespace longspan::reference
