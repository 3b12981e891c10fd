// foreach_target reads this file again for every instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/head_loss.cc"
#include <hwy/foreach_target.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/ops/kernel_list.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {

// One row of logits becomes its scaled gradient, softmax - onehot; returns the loss. NaN or infinite logits give NaN.
double cross_entropy_row(float* logits, std::int64_t vocab, std::int64_t label, float grad_scale) {
  const auto count = static_cast<std::size_t>(vocab);
  V highest = set(logits[0]);
  for_each_vector(count, [&](std::size_t i, std::size_t n) HWY_ATTR {
    highest = hn::Max(highest, hn::IfThenElse(hn::FirstN(kF32, n), load(logits + i, n), highest));
  });
  const V peak = hn::MaxOfLanes(kF32, highest);
  const double label_logit = logits[label];
  const float sum = sum_of(count, [=](std::size_t i, std::size_t n) HWY_ATTR {
    const V e = exp_of_non_positive(hn::Sub(load(logits + i, n), peak));
    store(e, logits + i, n);
    return hn::IfThenElseZero(hn::FirstN(kF32, n), e);
  });
  const V scale = set(grad_scale / sum);
  for_each_vector(
      count, [=](std::size_t i, std::size_t n) HWY_ATTR { store(hn::Mul(load(logits + i, n), scale), logits + i, n); });
  logits[label] -= grad_scale;
  return std::log(static_cast<double>(sum)) + hn::GetLane(peak) - label_logit;
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longspan::cpu {
namespace {

HWY_EXPORT(cross_entropy_row);

struct Totals {
  double loss_sum = 0, num_tokens = 0;
};

// Logits of a chunk become gradients, rows without a label zeros. Adds to the totals in the order of the tokens.
void chunk_loss(const Exec& exec, const Tensor& logits, const std::int32_t* label, float grad_scale, Totals& totals) {
  const std::int64_t tokens = logits.size(0), vocab = logits.size(1);
  std::vector<double> losses(static_cast<std::size_t>(tokens));
  parallel_for(exec, blocks_of_rows(tokens, vocab), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* row = logits.get<float>() + t * vocab;
      if (label[t] >= 0)
        losses[t] = HWY_DYNAMIC_DISPATCH(cross_entropy_row)(row, vocab, label[t], grad_scale);
      else
        std::memset(row, 0, static_cast<std::size_t>(vocab) * sizeof(float));
    }
  });
  for (std::int64_t t = 0; t < tokens; ++t) {
    totals.loss_sum += losses[t];
    totals.num_tokens += label[t] >= 0;
  }
}

void run_chunk(const Exec& exec, const HeadLoss& args, std::int64_t begin, std::int64_t end, Totals& totals) {
  Arena::Scope scope(*exec.workspace);
  const std::int64_t vocab = args.weight.size(0);
  const auto scratch = [&](std::string_view name, DType dtype) {
    return exec.workspace->allocate(name, MemoryCategory::kWorkspace, dtype, {end - begin, vocab});
  };
  const Tensor hidden = args.hidden.narrow(0, begin, end);
  const Tensor logits = scratch("logits of a chunk", DType::kF32);
  matmul(exec, {.a = hidden, .b = args.weight, .c = logits, .b_layout = Layout::kTransposed});
  chunk_loss(exec, logits, args.labels.get<std::int32_t>() + begin, args.grad_scale, totals);
  if (!args.dhidden) return;
  Tensor dlogits = logits;
  if (hidden.dtype == DType::kBF16) {
    dlogits = scratch("bf16 logit gradients of a chunk", DType::kBF16);
    cast(exec, logits, dlogits);
  }
  matmul(exec, {.a = dlogits, .b = args.weight, .c = args.dhidden.narrow(0, begin, end)});
  matmul(
      exec,
      {.a = dlogits, .b = hidden, .c = args.dweight, .a_layout = Layout::kTransposed, .mode = WriteMode::kAccumulate});
}

void run(const Exec& exec, const HeadLoss& args) {
  LS_CHECK(exec.workspace, "head_loss of {} needs a workspace", args.hidden.describe());
  const std::int64_t tokens = args.hidden.size(0);
  const auto* label = args.labels.get<std::int32_t>();
  Totals totals;
  for (std::int64_t begin = 0; begin < tokens; begin += args.chunk_tokens) {
    const std::int64_t end = std::min(tokens, begin + args.chunk_tokens);
    if (std::any_of(label + begin, label + end, [](std::int32_t l) { return l >= 0; }))
      run_chunk(exec, args, begin, end, totals);
    else if (args.dhidden)
      fill_zero(exec, args.dhidden.narrow(0, begin, end));
  }
  args.totals.get<double>()[0] += totals.loss_sum;
  args.totals.get<double>()[1] += totals.num_tokens;
}

}  // namespace

const Kernel<HeadLoss> kHeadLoss{"chunks", needs_cpu, run};

}  // namespace longspan::cpu
#endif
