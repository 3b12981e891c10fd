#include "kernels/ops/attention.h"

#include <algorithm>

#include "kernels/ops/attention_list.h"
#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {
namespace {

// first + (first + 1) + … + last, halved before it is multiplied.
std::int64_t sum_of_range(std::int64_t first, std::int64_t last) {
  const std::int64_t count = last - first + 1, ends = first + last;
  return count % 2 == 0 ? count / 2 * ends : ends / 2 * count;
}

// Pairs with j - i <= bound in a rectangle: row i counts min(max(i + bound + 1, 0), keys).
std::int64_t count_pairs_up_to(std::int64_t rows, std::int64_t keys, std::int64_t bound) {
  const std::int64_t first_some = std::clamp<std::int64_t>(-bound, 0, rows);
  const std::int64_t first_all = std::clamp<std::int64_t>(keys - bound - 1, first_some, rows);
  std::int64_t pairs = (rows - first_all) * keys;
  if (first_all > first_some) pairs += sum_of_range(first_some + bound + 1, first_all + bound);
  return pairs;
}

void check_desc(const OperandChecks& checks, std::string_view op, const AttentionDesc& desc, const Tensor& q,
                const Tensor& k, const Tensor& v) {
  LS_CHECK(desc.heads > 0 && desc.kv_heads > 0 && desc.heads % desc.kv_heads == 0,
           "{} {}: query heads must be a multiple of key/value heads", op, desc.describe());
  LS_CHECK(desc.head_dim > 0 && desc.value_dim > 0, "{} {}: head sizes must be positive", op, desc.describe());
  LS_CHECK(desc.dtype == DType::kF32 || desc.dtype == DType::kBF16, "{} {}: expected fp32 or bf16", op,
           desc.describe());
  LS_CHECK(q.dims == 3 && k.dims == 3 && v.dims == 3, "{} {}: q {}, k {}, v {} must have three dimensions", op,
           desc.describe(), q.describe(), k.describe(), v.describe());
  checks.expect("q", q, desc.dtype, {q.shape[0], desc.heads, desc.head_dim}, Strides::kRows);
  checks.expect("k", k, desc.dtype, {k.shape[0], desc.kv_heads, desc.head_dim}, Strides::kRows);
  checks.expect("v", v, desc.dtype, {k.shape[0], desc.kv_heads, desc.value_dim}, Strides::kRows);
}

void check_tasks(std::string_view op, const AttentionDesc& desc, std::span<const AttentionTask> tasks,
                 std::int64_t rows, std::int64_t keys) {
  const auto inside = [](std::int64_t begin, std::int64_t end, std::int64_t size) {
    return 0 <= begin && begin <= end && end <= size;
  };
  for (const AttentionTask& t : tasks) {
    LS_CHECK(inside(t.q_begin, t.q_end, rows) && inside(t.kv_begin, t.kv_end, keys) &&
                 inside(t.head_begin, t.head_end, desc.heads),
             "{} {}: task of queries {}..{}, keys {}..{}, heads {}..{} leaves {} queries, {} keys", op, desc.describe(),
             t.q_begin, t.q_end, t.kv_begin, t.kv_end, t.head_begin, t.head_end, rows, keys);
    LS_CHECK(Band::kUnboundedLow <= t.band.lo && t.band.lo <= Band::kUnboundedHigh &&
                 Band::kUnboundedLow <= t.band.hi && t.band.hi <= Band::kUnboundedHigh,
             "{} {}: band {}..{} lies outside what Band can hold", op, desc.describe(), t.band.lo, t.band.hi);
  }
}

}  // namespace

std::int64_t count_pairs(const AttentionTask& task) {
  const std::int64_t rows = std::max<std::int64_t>(0, task.q_end - task.q_begin);
  const std::int64_t keys = std::max<std::int64_t>(0, task.kv_end - task.kv_begin);
  const std::int64_t heads = std::max<std::int64_t>(0, task.head_end - task.head_begin);
  if (task.band.lo > task.band.hi) return 0;
  return heads * (count_pairs_up_to(rows, keys, task.band.hi) - count_pairs_up_to(rows, keys, task.band.lo - 1));
}

std::string AttentionDesc::describe() const {
  return fmt::format("{} {} heads {}/{} size {}/{} scale {:g}{}", name_of(device), name_of(dtype), heads, kv_heads,
                     head_dim, value_dim, scale, origin == SoftmaxOrigin::kBelowOne ? " probabilities below 1" : "");
}

void attention_forward(const Exec& exec, const AttentionForward& args) {
  const OperandChecks checks("attention_forward", exec);
  const AttentionDesc& desc = args.desc;
  check_desc(checks, "attention_forward", desc, args.q, args.k, args.v);
  const std::int64_t rows = args.q.shape[0];
  checks.expect("out", args.out, DType::kF32, {rows, desc.heads, desc.value_dim}, Strides::kRows);
  checks.expect("lse", args.lse, DType::kF32, {rows, desc.heads}, Strides::kRows);
  check_tasks("attention_forward", desc, args.tasks, rows, args.k.shape[0]);
  if (args.tasks.empty() || rows == 0) return;
  choose("attention", attention_ops(), desc).forward(exec, args);
}

void attention_backward(const Exec& exec, const AttentionBackward& args) {
  const OperandChecks checks("attention_backward", exec);
  const AttentionDesc& desc = args.desc;
  check_desc(checks, "attention_backward", desc, args.q, args.k, args.v);
  const std::int64_t rows = args.q.shape[0], keys = args.k.shape[0];
  checks.expect("dout", args.dout, desc.dtype, {rows, desc.heads, desc.value_dim}, Strides::kRows);
  checks.expect("lse", args.lse, DType::kF32, {rows, desc.heads}, Strides::kRows);
  checks.expect("delta", args.delta, DType::kF32, {rows, desc.heads}, Strides::kRows);
  checks.expect("dq", args.dq, DType::kF32, {rows, desc.heads, desc.head_dim}, Strides::kRows);
  checks.expect("dk", args.dk, DType::kF32, {keys, desc.kv_heads, desc.head_dim}, Strides::kRows);
  checks.expect("dv", args.dv, DType::kF32, {keys, desc.kv_heads, desc.value_dim}, Strides::kRows);
  check_tasks("attention_backward", desc, args.tasks, rows, keys);
  if (args.tasks.empty() || rows == 0) return;
  choose("attention", attention_ops(), desc).backward(exec, args);
}

void clear_carry(const Exec& exec, const Tensor& out, const Tensor& lse) {
  const OperandChecks checks("clear_carry", exec);
  checks.expect_float("out", out, 3, 3);
  checks.expect("out", out, DType::kF32, {out.shape[0], out.shape[1], out.shape[2]}, Strides::kRows);
  checks.expect("lse", lse, DType::kF32, {out.shape[0], out.shape[1]}, Strides::kRows);
  choose_kernel<ClearCarry>("clear_carry", exec, DType::kF32).run(exec, {out, lse});
}

void merge_carry(const Exec& exec, const Tensor& out, const Tensor& lse, const Tensor& more_out,
                 const Tensor& more_lse) {
  const OperandChecks checks("merge_carry", exec);
  checks.expect_float("out", out, 3, 3);
  for (const auto& [name, rows] : {std::pair("out", out), std::pair("more_out", more_out)})
    checks.expect(name, rows, DType::kF32, {out.shape[0], out.shape[1], out.shape[2]}, Strides::kRows);
  for (const auto& [name, rows] : {std::pair("lse", lse), std::pair("more_lse", more_lse)})
    checks.expect(name, rows, DType::kF32, {out.shape[0], out.shape[1]}, Strides::kRows);
  choose_kernel<MergeCarry>("merge_carry", exec, DType::kF32).run(exec, {out, lse, more_out, more_lse});
}

void finish_forward(const Exec& exec, const Tensor& out, const Tensor& lse, const Tensor& sink, const Tensor& result,
                    const Tensor& total_lse) {
  const OperandChecks checks("finish_forward", exec);
  checks.expect_float("result", result, 3, 3);
  checks.expect_like("out", out, DType::kF32, result);
  checks.expect("lse", lse, DType::kF32, {out.shape[0], out.shape[1]}, Strides::kRows);
  checks.expect("total_lse", total_lse, DType::kF32, {out.shape[0], out.shape[1]}, Strides::kRows);
  if (sink) checks.expect("sink", sink, DType::kF32, {out.shape[1]});
  choose_kernel<FinishForward>("finish_forward", exec, DType::kF32, result.dtype)
      .run(exec, {out, lse, sink, result, total_lse});
}

void begin_backward(const Exec& exec, const Tensor& out, const Tensor& dout, const Tensor& total_lse,
                    const Tensor& sink, const Tensor& delta, const Tensor& dsink) {
  const OperandChecks checks("begin_backward", exec);
  checks.expect_float("out", out, 3, 3);
  checks.expect_float("dout", dout, 3, 3);
  checks.expect_like("dout", dout, dout.dtype, out);
  checks.expect("total_lse", total_lse, DType::kF32, {out.shape[0], out.shape[1]}, Strides::kRows);
  checks.expect("delta", delta, DType::kF32, {out.shape[0], out.shape[1]}, Strides::kRows);
  LS_CHECK(static_cast<bool>(sink) == static_cast<bool>(dsink),
           "begin_backward: sink {} and dsink {} must both be given or both be absent", sink.describe(),
           dsink.describe());
  if (sink) checks.expect("sink", sink, DType::kF32, {out.shape[1]});
  if (dsink) checks.expect("dsink", dsink, DType::kF32, {out.shape[1]});
  choose_kernel<BeginBackward>("begin_backward", exec, dout.dtype, DType::kF32)
      .run(exec, {out, dout, total_lse, sink, delta, dsink});
}

}  // namespace longspan
