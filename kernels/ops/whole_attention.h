// Attention of rows whose keys are all in one call: nothing is carried from call to call, so the result is rounded
// where it is computed. Libraries that know no fp32 carry serve here; what none of them takes goes through attention.h.
#pragma once

#include <span>
#include <string_view>

#include "kernels/ops/attention.h"

namespace longspan {

// Every key that a row of q sees is in these tasks, and there is no sink. out and lse are written; rows that see no key
// get 0 and -inf.
struct WholeAttention {
  AttentionDesc desc;
  Tensor q, k, v;  // as in AttentionForward
  Tensor out;      // [Tq, H, Dv] desc.dtype
  Tensor lse;      // [Tq, H] fp32
  std::span<const AttentionTask> tasks;
  Tensor scratch;  // kWholeAttentionScratch bytes or more
};
inline constexpr std::int64_t kWholeAttentionScratch = std::int64_t{4} << 20;

class WholeAttentionOp {
 public:
  virtual ~WholeAttentionOp() = default;
  virtual std::string_view name() const = 0;
  // May make what forward() will run, and keep it: the first question about a shape takes long.
  virtual Refusal why_unsupported(const Exec& exec, const WholeAttention& args) const = 0;
  // Bitwise repeatable for equal inputs.
  virtual void forward(const Exec& exec, const WholeAttention& args) const = 0;
};

// Every implementation in this build, best first; often none. There is no reference: attention.h is what they replace.
std::span<const WholeAttentionOp* const> whole_attention_ops();

// Runs the first that takes the call; false, and nothing is written, where none does.
bool whole_attention_forward(const Exec& exec, const WholeAttention& args);

}  // namespace longspan
