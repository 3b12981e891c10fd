// foreach_target reads this file again for every instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/swiglu.cc"
#include <hwy/foreach_target.h>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/ops/kernel_list.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {

// Both halves of the logistic function from one exponential of -|z|, so that neither overflows nor cancels.
struct Sigmoid {
  V of_z, of_minus_z;
};

HWY_INLINE Sigmoid sigmoid(V z) {
  const V e = exp_of_non_positive(hn::Neg(hn::Abs(z)));
  const V larger = hn::Div(set(1.0f), hn::Add(set(1.0f), e));
  const V smaller = hn::Mul(e, larger);
  const auto negative = hn::Lt(z, hn::Zero(kF32));
  return {hn::IfThenElse(negative, smaller, larger), hn::IfThenElse(negative, larger, smaller)};
}

template <class T>
void forward_typed(const SwigluForward& args, std::int64_t begin, std::int64_t end) {
  const Rows<T> gate_rows(args.gate), up_rows(args.up), out_rows(args.out);
  for (std::int64_t r = begin; r < end; ++r) {
    const T *gate = gate_rows[r], *up = up_rows[r];
    T* out = out_rows[r];
    for_each_vector(static_cast<std::size_t>(width_of(args.out)), [=](std::size_t i, std::size_t n) HWY_ATTR {
      const V z = load(gate + i, n);
      store(hn::Mul(hn::Mul(z, sigmoid(z).of_z), load(up + i, n)), out + i, n);
    });
  }
}

void forward_rows(const SwigluForward& args, std::int64_t begin, std::int64_t end) {
  if (args.out.dtype == DType::kBF16)
    forward_typed<bf16>(args, begin, end);
  else
    forward_typed<float>(args, begin, end);
}

template <class T>
void backward_typed(const SwigluBackward& args, std::int64_t begin, std::int64_t end) {
  const Rows<T> gate_rows(args.gate), up_rows(args.up), dout_rows(args.dout), dgate_rows(args.dgate),
      dup_rows(args.dup);
  for (std::int64_t r = begin; r < end; ++r) {
    const T *gate = gate_rows[r], *up = up_rows[r], *dout = dout_rows[r];
    T *dgate = dgate_rows[r], *dup = dup_rows[r];
    for_each_vector(static_cast<std::size_t>(width_of(args.dout)), [=](std::size_t i, std::size_t n) HWY_ATTR {
      const V z = load(gate + i, n), u = load(up + i, n), d = load(dout + i, n);
      const Sigmoid s = sigmoid(z);
      const V slope = hn::Mul(s.of_z, hn::MulAdd(z, s.of_minus_z, set(1.0f)));
      store(hn::Mul(hn::Mul(d, u), slope), dgate + i, n);
      store(hn::Mul(d, hn::Mul(z, s.of_z)), dup + i, n);
    });
  }
}

void backward_rows(const SwigluBackward& args, std::int64_t begin, std::int64_t end) {
  if (args.dout.dtype == DType::kBF16)
    backward_typed<bf16>(args, begin, end);
  else
    backward_typed<float>(args, begin, end);
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longspan::cpu {
namespace {

HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

void run_forward(const Exec& exec, const SwigluForward& args) {
  parallel_for(exec, blocks_of_rows(rows_of(args.out), width_of(args.out)),
               [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                 HWY_DYNAMIC_DISPATCH(forward_rows)(args, begin, end);
               });
}

void run_backward(const Exec& exec, const SwigluBackward& args) {
  parallel_for(exec, blocks_of_rows(rows_of(args.dout), width_of(args.dout)),
               [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                 HWY_DYNAMIC_DISPATCH(backward_rows)(args, begin, end);
               });
}

}  // namespace

const Kernel<SwigluForward> kSwigluForward{"highway", needs_cpu, run_forward};
const Kernel<SwigluBackward> kSwigluBackward{"highway", needs_cpu, run_backward};

}  // namespace longspan::cpu
#endif
