// foreach_target reads this file again for every instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/adamw.cc"
#include <hwy/foreach_target.h>

#include <type_traits>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/ops/kernel_list.h"
#include "kernels/reference/adamw_factors.h"
#include "kernels/reference/stochastic_rounding.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {

template <class Copy>
void adamw_typed(const AdamW& args, std::int64_t begin, std::int64_t end) {
  const AdamWFactors f = factors_of(args);
  const float* grad = args.grad.get<float>() + begin;
  float *weight = args.weight.get<float>() + begin, *m = args.m.get<float>() + begin, *v = args.v.get<float>() + begin;
  Copy* copy = args.compute_copy ? args.compute_copy.get<Copy>() + begin : nullptr;
  for_each_vector(static_cast<std::size_t>(end - begin), [=](std::size_t i, std::size_t n) HWY_ATTR {
    const V g = hn::Mul(load(grad + i, n), set(f.grad_scale));
    const V mi = hn::MulAdd(set(f.beta1), load(m + i, n), hn::Mul(set(f.one_minus_beta1), g));
    const V vi = hn::MulAdd(set(f.beta2), load(v + i, n), hn::Mul(set(f.one_minus_beta2), hn::Mul(g, g)));
    const V root = hn::Add(hn::Sqrt(hn::Mul(vi, set(f.inverse_correction2))), set(f.eps));
    const V w = load(weight + i, n);
    const V change = hn::MulAdd(set(f.weight_decay), w, hn::Div(hn::Mul(mi, set(f.inverse_correction1)), root));
    const V updated = hn::NegMulAdd(set(f.lr), change, w);
    store(mi, m + i, n);
    store(vi, v + i, n);
    store(updated, weight + i, n);
    if (copy) store(updated, copy + i, n);
  });
  if constexpr (std::is_same_v<Copy, bf16>)
    if (args.copy_rounding == CopyRounding::kStochastic)
      for (std::int64_t i = begin; i < end; ++i)
        copy[i - begin] = reference::round_stochastically(weight[i - begin], args.rounding_seed, i);
}

void adamw_elements(const AdamW& args, std::int64_t begin, std::int64_t end) {
  if (args.compute_copy && args.compute_copy.dtype == DType::kBF16)
    adamw_typed<bf16>(args, begin, end);
  else
    adamw_typed<float>(args, begin, end);
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longspan::cpu {
namespace {

HWY_EXPORT(adamw_elements);

void run(const Exec& exec, const AdamW& args) {
  parallel_for(exec, {args.weight.numel(), kGrainElements}, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(adamw_elements)(args, begin, end);
  });
}

}  // namespace

const Kernel<AdamW> kAdamw{"highway", needs_cpu, run};

}  // namespace longspan::cpu
#endif
