// foreach_target reads this file again for every instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rotary.cc"
#include <hwy/foreach_target.h>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/ops/kernel_list.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {

template <class T>
void rotary_typed(const Rotary& args, std::int64_t begin, std::int64_t end) {
  const Rows<T> x_rows(args.x);
  const std::int64_t heads = args.x.size(1), half = args.x.size(2) / 2;
  const float turn = args.direction == RotaryDirection::kForward ? 1.0f : -1.0f;
  for (std::int64_t r = begin; r < end; ++r) {
    T* first = x_rows[r];
    T* second = first + half;
    const float* cos = args.cos.get<float>() + r / heads * half;
    const float* sin = args.sin.get<float>() + r / heads * half;
    for_each_vector(static_cast<std::size_t>(half), [=](std::size_t i, std::size_t n) HWY_ATTR {
      const V a = load(first + i, n), b = load(second + i, n);
      const V c = load(cos + i, n), s = hn::Mul(load(sin + i, n), set(turn));
      store(hn::NegMulAdd(b, s, hn::Mul(a, c)), first + i, n);
      store(hn::MulAdd(a, s, hn::Mul(b, c)), second + i, n);
    });
  }
}

void rotary_rows(const Rotary& args, std::int64_t begin, std::int64_t end) {
  if (args.x.dtype == DType::kBF16)
    rotary_typed<bf16>(args, begin, end);
  else
    rotary_typed<float>(args, begin, end);
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longspan::cpu {
namespace {

HWY_EXPORT(rotary_rows);

void run(const Exec& exec, const Rotary& args) {
  parallel_for(exec, blocks_of_rows(rows_of(args.x), width_of(args.x)),
               [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                 HWY_DYNAMIC_DISPATCH(rotary_rows)(args, begin, end);
               });
}

// Angles reach millions of radians: formed and reduced in double, by the C library.
void run_table(const Exec& exec, const RotaryTable& args) {
  const auto half = static_cast<std::int64_t>(args.inverse_frequency.size());
  const auto* position = args.positions.get<std::int32_t>();
  const float* frequency = args.inverse_frequency.data();
  float *cos = args.cos.get<float>(), *sin = args.sin.get<float>();
  parallel_for(exec, blocks_of_rows(args.positions.numel(), 16 * half),
               [=](std::int64_t, std::int64_t begin, std::int64_t end) {
                 for (std::int64_t t = begin; t < end; ++t)
                   for (std::int64_t i = 0; i < half; ++i) {
                     const double angle = static_cast<double>(position[t]) * frequency[i];
                     cos[t * half + i] = static_cast<float>(std::cos(angle) * args.attention_factor);
                     sin[t * half + i] = static_cast<float>(std::sin(angle) * args.attention_factor);
                   }
               });
}

}  // namespace

const Kernel<RotaryTable> kRotaryTable{"libm", needs_cpu, run_table};
const Kernel<Rotary> kRotary{"highway", needs_cpu, run};

}  // namespace longspan::cpu
#endif
