// What surrounds the tasks of attention, row by row: clearing the carry, folding in the sink, delta.
#include <cmath>
#include <limits>

#include "kernels/cpu/head_rows.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/kernel_list.h"

namespace longspan::cpu {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

// log(exp(a) + exp(b)).
float log_add_exp(float a, float b) {
  if (a == kNothing) return b;
  if (b == kNothing) return a;
  return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
}

template <class T>
void finish_rows(const Exec& exec, const Tensor& out, const Tensor& lse, const Tensor& sink, const Tensor& result,
                 const Tensor& total_lse) {
  const float* sink_of = sink ? sink.get<float>() : nullptr;
  for_each_row(exec, out, [&](std::int64_t t, std::int64_t h) {
    const float seen = *row_of<float>(lse, t, h);
    const float total = sink_of == nullptr ? seen : log_add_exp(seen, sink_of[h]);
    const float weight = seen == kNothing ? 0.0f : sink_of == nullptr ? 1.0f : std::exp(std::min(0.0f, seen - total));
    const float* from = row_of<float>(out, t, h);
    T* to = row_of<T>(result, t, h);
    for (std::int64_t e = 0; e < out.shape[2]; ++e) to[e] = T(weight * from[e]);
    *row_of<float>(total_lse, t, h) = total;
  });
}

template <class Out, class Dout>
void write_delta(const Exec& exec, const Tensor& out, const Tensor& dout, const Tensor& delta) {
  for_each_row(exec, out, [&](std::int64_t t, std::int64_t h) {
    const Out* a = row_of<Out>(out, t, h);
    const Dout* b = row_of<Dout>(dout, t, h);
    double sum = 0;
    for (std::int64_t e = 0; e < out.shape[2]; ++e)
      sum += static_cast<double>(static_cast<float>(a[e])) * static_cast<double>(static_cast<float>(b[e]));
    *row_of<float>(delta, t, h) = static_cast<float>(sum);
  });
}

void clear_carry(const Exec& exec, const ClearCarry& args) {
  const auto& [out, lse] = args;
  for_each_row(exec, out, [&](std::int64_t t, std::int64_t h) {
    std::fill_n(row_of<float>(out, t, h), out.shape[2], 0.0f);
    *row_of<float>(lse, t, h) = kNothing;
  });
}

void merge_carry(const Exec& exec, const MergeCarry& args) {
  const auto& [out, lse, more_out, more_lse] = args;
  for_each_row(exec, out, [&](std::int64_t t, std::int64_t h) {
    const float seen = *row_of<float>(lse, t, h), more = *row_of<float>(more_lse, t, h);
    if (more == kNothing) return;
    // sigmoid(more - seen), from exponents that are not positive.
    const float small = std::exp(-std::abs(more - seen));
    const float share = seen == kNothing ? 1.0f : (more >= seen ? 1.0f : small) / (1.0f + small);
    float* to = row_of<float>(out, t, h);
    const float* from = row_of<float>(more_out, t, h);
    for (std::int64_t e = 0; e < out.shape[2]; ++e) to[e] -= share * (to[e] - from[e]);
    *row_of<float>(lse, t, h) = log_add_exp(seen, more);
  });
}

void finish_forward(const Exec& exec, const FinishForward& args) {
  const auto& [out, lse, sink, result, total_lse] = args;
  if (result.dtype == DType::kBF16)
    finish_rows<bf16>(exec, out, lse, sink, result, total_lse);
  else
    finish_rows<float>(exec, out, lse, sink, result, total_lse);
}

void begin_backward(const Exec& exec, const BeginBackward& args) {
  const auto& [out, dout, total_lse, sink, delta, dsink] = args;
  const bool out_is_bf16 = out.dtype == DType::kBF16, dout_is_bf16 = dout.dtype == DType::kBF16;
  if (out_is_bf16 && dout_is_bf16)
    write_delta<bf16, bf16>(exec, out, dout, delta);
  else if (out_is_bf16)
    write_delta<bf16, float>(exec, out, dout, delta);
  else if (dout_is_bf16)
    write_delta<float, bf16>(exec, out, dout, delta);
  else
    write_delta<float, float>(exec, out, dout, delta);
  if (!sink) return;
  // A head is summed by one thread, in the order of its rows: the same bits for any number of threads.
  parallel_for(exec, {out.shape[1], 1}, [&](std::int64_t h, std::int64_t, std::int64_t) {
    const double logit = sink.get<float>()[h];
    double sum = 0;
    for (std::int64_t t = 0; t < out.shape[0]; ++t) {
      const float total = *row_of<float>(total_lse, t, h);
      if (total == kNothing) continue;
      sum += std::exp(std::min(0.0, logit - total)) * *row_of<float>(delta, t, h);
    }
    dsink.get<float>()[h] -= static_cast<float>(sum);
  });
}

}  // namespace

const Kernel<ClearCarry> kClearCarry("cpu rows", needs_cpu, clear_carry);
const Kernel<MergeCarry> kMergeCarry("cpu rows", needs_cpu, merge_carry);
const Kernel<FinishForward> kFinishForward("cpu rows", needs_cpu, finish_forward);
const Kernel<BeginBackward> kBeginBackward("cpu rows", needs_cpu, begin_backward);

}  // namespace longspan::cpu
