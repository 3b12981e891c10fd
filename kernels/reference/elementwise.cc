#include <cstring>

#include "kernels/ops/kernel_list.h"
#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

void run_add(const Exec&, const Add& args) {
  for (std::int64_t i = 0; i < args.out.numel(); ++i) store(args.out, i, load(args.a, i) + load(args.b, i));
}

void run_cast(const Exec&, const Cast& args) {
  for (std::int64_t i = 0; i < args.out.numel(); ++i) store(args.out, i, load(args.in, i));
}

void run_add_row_sum(const Exec&, const AddRowSum& args) {
  const std::int64_t width = args.out.numel();
  std::vector<double> sum(static_cast<std::size_t>(width));
  for (std::int64_t i = 0; i < args.x.numel(); ++i) sum[i % width] += load(args.x, i);
  add_all(args.out, sum);
}

// Any dtype, row by row of the last dimension: the bit pattern of zero is all zeros in every one.
void run_fill_zero(const Exec& exec, const FillZero& args) {
  const Tensor& out = args.out;
  if (out.dims > 1) {
    for (std::int64_t i = 0; i < out.size(0); ++i) {
      Tensor part = out;
      part.data = static_cast<char*>(out.data) + i * out.stride[0] * size_of(out.dtype);
      part.dims = out.dims - 1;
      std::copy(out.shape.begin() + 1, out.shape.end(), part.shape.begin());
      std::copy(out.stride.begin() + 1, out.stride.end(), part.stride.begin());
      run_fill_zero(exec, {part});
    }
  } else if (out.numel() > 0) {
    std::memset(out.data, 0, static_cast<std::size_t>(out.num_bytes()));
  }
}

}  // namespace

const Kernel<Add> kAdd{"reference", needs_cpu, run_add};
const Kernel<Cast> kCast{"reference", needs_cpu, run_cast};
const Kernel<AddRowSum> kAddRowSum{"reference", needs_cpu, run_add_row_sum};
const Kernel<FillZero> kFillZero{"reference", needs_cpu, run_fill_zero};

}  // namespace longspan::reference
