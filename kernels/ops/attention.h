// Core attention over rectangles with bands: the operator every context-parallel plan is made of.
//
// For each task, query row i (counted from q_begin) sees key row j (counted from kv_begin) iff lo <= j - i <= hi:
//   s_ij = scale * q_i . k_j,   p_ij = exp(s_ij - lse_i),   out_i = sum_j p_ij v_j,   lse_i = log sum_j exp(s_ij).
// Query head h reads key/value head h / (heads / kv_heads).
//
// Partials are carried in fp32: a forward call merges its tasks into (out, lse) that enter and leave it, a backward
// call adds to (dq, dk, dv). A row that has seen no key has out = 0, lse = -inf; start a carry with clear_carry.
// The sink logit is not the tasks' business: finish_forward folds it in once all partials are merged.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "kernels/core/exec.h"
#include "kernels/ops/op_list.h"

namespace longspan {

struct Band {
  static constexpr std::int64_t kUnboundedLow = std::numeric_limits<std::int64_t>::min() / 4;
  static constexpr std::int64_t kUnboundedHigh = std::numeric_limits<std::int64_t>::max() / 4;
  std::int64_t lo = kUnboundedLow;
  std::int64_t hi = kUnboundedHigh;
  bool operator==(const Band&) const = default;
};

// Rows are those of the tensors given to the call; heads are query heads. Several tasks may touch the same rows.
struct AttentionTask {
  std::int64_t q_begin = 0, q_end = 0;
  std::int64_t kv_begin = 0, kv_end = 0;
  std::int64_t head_begin = 0, head_end = 0;
  Band band;
};

// Visible (query, key) pairs of a task, times its heads. The unit of "work" in plans and reports.
std::int64_t count_pairs(const AttentionTask& task);

// What the largest probability of a row is measured from while it is gathered; it cancels in the result. Matters where
// probabilities are rounded to bf16 for the product with values: measured from the row's maximum, the largest are
// exactly 1, and where several keys share them, products are exact, sums lie halfway between two bf16 numbers, and what
// little is left over rounds them all the same way: a bias that can make training fail (arXiv:2510.04212). kBelowOne
// measures from a little above, on a grid of powers of two, so that every probability is rounded itself.
enum class SoftmaxOrigin : std::uint8_t { kMaximum, kBelowOne };

struct AttentionDesc {
  Device device = Device::kCpu;
  DType dtype = DType::kF32;  // of q, k, v, dout: fp32 or bf16
  std::int64_t heads = 0, kv_heads = 0;
  std::int64_t head_dim = 0, value_dim = 0;
  float scale = 0;
  SoftmaxOrigin origin = SoftmaxOrigin::kMaximum;  // of no account where probabilities stay fp32
  std::string describe() const;
};

struct AttentionForward {
  AttentionDesc desc;
  Tensor q;    // [Tq, H, D] dtype; last dimension contiguous, others may be strided (also k, v)
  Tensor k;    // [Tk, Hkv, D] dtype
  Tensor v;    // [Tk, Hkv, Dv] dtype
  Tensor out;  // [Tq, H, Dv] fp32 carry
  Tensor lse;  // [Tq, H] fp32 carry
  std::span<const AttentionTask> tasks;
};

struct AttentionBackward {
  AttentionDesc desc;
  Tensor q, k, v;
  Tensor dout;   // [Tq, H, Dv] dtype
  Tensor lse;    // [Tq, H] fp32: final, over all keys, sink included (see finish_forward)
  Tensor delta;  // [Tq, H] fp32: sum_d dout * out
  Tensor dq;     // [Tq, H, D] fp32 +=
  Tensor dk;     // [Tk, Hkv, D] fp32 +=
  Tensor dv;     // [Tk, Hkv, Dv] fp32 +=
  std::span<const AttentionTask> tasks;
};

class AttentionOp {
 public:
  virtual ~AttentionOp() = default;
  virtual std::string_view name() const = 0;
  virtual Refusal why_unsupported(const AttentionDesc& desc) const = 0;
  // Bitwise repeatable for equal inputs and equal exec.num_threads. Scratch is O(threads), from exec.workspace if there
  // is one, else from the heap; lists of tasks cost a few bytes more for each task and block of rows it touches.
  virtual void forward(const Exec& exec, const AttentionForward& args) const = 0;
  virtual void backward(const Exec& exec, const AttentionBackward& args) const = 0;
};

// Every implementation in this build, best first, reference last.
std::span<const AttentionOp* const> attention_ops();

// Check shapes and dtypes, choose an implementation, run it.
void attention_forward(const Exec& exec, const AttentionForward& args);
void attention_backward(const Exec& exec, const AttentionBackward& args);

// out = 0, lse = -inf.
void clear_carry(const Exec& exec, const Tensor& out, const Tensor& lse);

// Merges a second carry [Tq, H, Dv], [Tq, H] over other keys of the same rows into (out, lse), all fp32:
//   x = more_lse - lse,  out -= sigmoid(x) * (out - more_out),  lse = max(lse, more_lse) + log1p(exp(-|x|)).
// A row that has seen no key on either side (lse = -inf) is taken from the other.
void merge_carry(const Exec& exec, const Tensor& out, const Tensor& lse, const Tensor& more_out,
                 const Tensor& more_lse);

// Once all partials of a row are merged: folds the sink logit [H] fp32 (absent: none) into out and total_lse,
//   total_lse = log(exp(lse) + exp(sink)),  out *= exp(lse - total_lse),
// and writes the result, cast once, to result [Tq, H, Dv] of any float dtype. total_lse [Tq, H] may alias lse, an fp32
// result may alias out.
void finish_forward(const Exec& exec, const Tensor& out, const Tensor& lse, const Tensor& sink, const Tensor& result,
                    const Tensor& total_lse);

// delta_i = sum_d dout_id * out_id with out the finished result; dsink [H] fp32 (absent: none) += over rows of
//   -exp(sink_h - total_lse_i) * delta_i.
void begin_backward(const Exec& exec, const Tensor& out, const Tensor& dout, const Tensor& total_lse,
                    const Tensor& sink, const Tensor& delta, const Tensor& dsink);

}  // namespace longspan
