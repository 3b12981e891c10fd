// foreach_target reads this file again for every instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/sum_of_squares.cc"
#include <hwy/foreach_target.h>

#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/ops/kernel_list.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {

// Squares and sums in double: fp32 gradients of any size neither overflow nor lose small terms.
double sum_of_squares_span(const Tensor& x, std::int64_t row, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<double> doubles;
  const hn::Rebind<float, decltype(doubles)> floats;
  const float* from = Rows<float>(x)[row] + begin;
  const auto count = static_cast<std::size_t>(end - begin), lanes = hn::Lanes(doubles);
  auto sum0 = hn::Zero(doubles), sum1 = sum0;
  std::size_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    const auto a = hn::PromoteTo(doubles, hn::LoadU(floats, from + i));
    const auto b = hn::PromoteTo(doubles, hn::LoadU(floats, from + i + lanes));
    sum0 = hn::MulAdd(a, a, sum0);
    sum1 = hn::MulAdd(b, b, sum1);
  }
  double sum = hn::GetLane(hn::SumOfLanes(doubles, hn::Add(sum0, sum1)));
  for (; i < count; ++i) sum += static_cast<double>(from[i]) * from[i];
  return sum;
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longspan::cpu {
namespace {

HWY_EXPORT(sum_of_squares_span);

void run(const Exec& exec, const SumOfSquares& args) {
  const Tensor x = args.x.is_contiguous() ? args.x.view({1, args.x.numel()}) : args.x;
  const std::int64_t width = width_of(x), pieces = Blocks{width, kGrainElements}.num();
  std::vector<double> sums(static_cast<std::size_t>(rows_of(x) * pieces));
  for_each_span(exec, rows_of(x), width, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    sums[row * pieces + begin / kGrainElements] = HWY_DYNAMIC_DISPATCH(sum_of_squares_span)(x, row, begin, end);
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  *args.out.get<double>() += total;
}

}  // namespace

const Kernel<SumOfSquares> kSumOfSquares{"highway", needs_cpu, run};

}  // namespace longspan::cpu
#endif
