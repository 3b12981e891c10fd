// foreach_target reads this file again for every instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rms_norm.cc"
#include <hwy/foreach_target.h>

#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/ops/kernel_list.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {

template <class T>
void forward_typed(const RmsNormForward& args, std::int64_t begin, std::int64_t end) {
  const Rows<T> x_rows(args.x), y_rows(args.y);
  const T* weight = args.weight.get<T>();
  const auto width = static_cast<std::size_t>(width_of(args.x));
  for (std::int64_t r = begin; r < end; ++r) {
    const T* x = x_rows[r];
    T* y = y_rows[r];
    const float sum = sum_of(width, [=](std::size_t i, std::size_t n) HWY_ATTR {
      const V value = load(x + i, n);
      return hn::Mul(value, value);
    });
    const float rstd = 1.0f / std::sqrt(sum / static_cast<float>(width) + args.eps);
    if (args.rstd) args.rstd.get<float>()[r] = rstd;
    for_each_vector(width, [=](std::size_t i, std::size_t n) HWY_ATTR {
      store(hn::Mul(hn::Mul(load(x + i, n), set(rstd)), load(weight + i, n)), y + i, n);
    });
  }
}

void forward_rows(const RmsNormForward& args, std::int64_t begin, std::int64_t end) {
  if (args.x.dtype == DType::kBF16)
    forward_typed<bf16>(args, begin, end);
  else
    forward_typed<float>(args, begin, end);
}

// Adds the rows' part of the weight's gradient to dweight. A row's dx is written after its dy is read: they may alias.
template <class T>
void backward_typed(const RmsNormBackward& args, float* dweight, std::int64_t begin, std::int64_t end) {
  const Rows<T> x_rows(args.x), dy_rows(args.dy), dx_rows(args.dx);
  const T* weight = args.weight.get<T>();
  const auto width = static_cast<std::size_t>(width_of(args.x));
  for (std::int64_t r = begin; r < end; ++r) {
    const T *x = x_rows[r], *dy = dy_rows[r];
    T* dx = dx_rows[r];
    const float rstd = args.rstd.get<float>()[r];
    const float dot = sum_of(width, [=](std::size_t i, std::size_t n) HWY_ATTR {
      return hn::Mul(hn::Mul(load(weight + i, n), load(dy + i, n)), load(x + i, n));
    });
    const float along_x = dot * rstd * rstd / static_cast<float>(width);
    for_each_vector(width, [=](std::size_t i, std::size_t n) HWY_ATTR {
      const V xi = load(x + i, n), dyi = load(dy + i, n);
      const V across = hn::NegMulAdd(xi, set(along_x), hn::Mul(load(weight + i, n), dyi));
      store(hn::MulAdd(hn::Mul(dyi, xi), set(rstd), load(dweight + i, n)), dweight + i, n);
      store(hn::Mul(set(rstd), across), dx + i, n);
    });
  }
}

void backward_rows(const RmsNormBackward& args, float* dweight, std::int64_t begin, std::int64_t end) {
  if (args.x.dtype == DType::kBF16)
    backward_typed<bf16>(args, dweight, begin, end);
  else
    backward_typed<float>(args, dweight, begin, end);
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longspan::cpu {
namespace {

HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

void run_forward(const Exec& exec, const RmsNormForward& args) {
  parallel_for(exec, blocks_of_rows(rows_of(args.x), width_of(args.x)),
               [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                 HWY_DYNAMIC_DISPATCH(forward_rows)(args, begin, end);
               });
}

void run_backward(const Exec& exec, const RmsNormBackward& args) {
  add_column_sums(exec, rows_of(args.x), args.dweight, [&](float* partial, std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(backward_rows)(args, partial, begin, end);
  });
}

}  // namespace

const Kernel<RmsNormForward> kRmsNormForward{"highway", needs_cpu, run_forward};
const Kernel<RmsNormBackward> kRmsNormBackward{"highway", needs_cpu, run_backward};

}  // namespace longspan::cpu
#endif
