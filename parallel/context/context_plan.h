// ContextPlan: how one attention layer of one packed batch is spread over the ranks of a context group. A plain value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/ops/attention.h"

namespace longspan {

// Global token indices first + i * stride, i = 0 … count-1.
struct TokenRun {
  std::int64_t first = 0, stride = 1, count = 0;
  bool operator==(const TokenRun&) const = default;
};

// What is to be computed, whoever computes it. Document d is the tokens cu_seqlens[d] … cu_seqlens[d+1]-1 (may be
// empty). A query sees the keys of its own document, none later if causal, the last `window` (own included) if > 0.
struct ContextProblem {
  std::vector<std::int64_t> cu_seqlens;
  std::int64_t heads = 1, kv_heads = 1;
  bool causal = true;
  std::int64_t window = 0;
  std::int64_t num_tokens() const { return cu_seqlens.empty() ? 0 : cu_seqlens.back(); }
  bool operator==(const ContextProblem&) const = default;
};

// Tokens by their place in their owner's local order.
struct TokenRange {
  int owner = 0;
  std::int64_t begin = 0, end = 0;
  std::int64_t count() const { return end - begin; }
  bool operator==(const TokenRange&) const = default;
};

// Rank computes, in its step, these queries x these keys for query heads head_begin … head_end-1 within the band.
struct PlanTask {
  int rank = 0, step = 0;
  TokenRange q, kv;
  std::int64_t head_begin = 0, head_end = 0;
  Band band;
  bool operator==(const PlanTask&) const = default;
};

// Operands: kQuery, kKeyValue, kOutputGradient (with lse and delta). Results on their way home: kOutput (partial, with
// its lse), kQueryGradient, kKeyValueGradient.
enum class TransferKind : std::uint8_t {
  kQuery,
  kKeyValue,
  kOutput,
  kOutputGradient,
  kQueryGradient,
  kKeyValueGradient
};
// "q", "kv", "out", "dout", "dq", "dkv": as in plan files.
std::string_view name_of(TransferKind kind);

// Posted in step s, at the receiver from its step s+1 on. An operand is posted before the tasks of its step run; a
// result after them, with the sender's own share of that step in it. Heads are kv heads for kKeyValue and
// kKeyValueGradient, query heads otherwise.
struct PlanTransfer {
  TransferKind kind = TransferKind::kKeyValue;
  int from = 0, to = 0, step = 0;
  TokenRange range;
  std::int64_t head_begin = 0, head_end = 0;
  bool operator==(const PlanTransfer&) const = default;
};

// Transfers between two ranks happen in the order in which they stand here.
struct PlanDirection {
  std::vector<PlanTransfer> transfers;
  std::vector<PlanTask> tasks;
  int num_steps() const;
  bool operator==(const PlanDirection&) const = default;
};

struct ContextPlan {
  std::string scheme;
  int ranks = 1;
  ContextProblem problem;
  std::vector<std::vector<TokenRun>> home;  // [rank]: its tokens in local order
  PlanDirection forward, backward;
  std::int64_t tokens_of(int rank) const;
  bool operator==(const ContextPlan&) const = default;
};

// Equal plans have equal hashes on every machine; ranks compare it before they run.
std::uint64_t hash_of(const ContextPlan& plan);

// Visible pairs times heads: of a task, and of all that a rank computes in a direction.
std::int64_t work_of(const PlanTask& task);
std::vector<std::int64_t> work_of_ranks(const ContextPlan& plan, const PlanDirection& direction);
// Busiest rank's work over the mean (1 is perfect); and the same for the sum over steps of the busiest rank in each
// step, which is what a ring in lock step waits for.
double balance_of_totals(const ContextPlan& plan, const PlanDirection& direction);
double balance_of_steps(const ContextPlan& plan, const PlanDirection& direction);
// Bytes a rank sends; see wire_desc.h.
struct WireDesc;
std::vector<std::int64_t> bytes_sent_by_ranks(const ContextPlan& plan, const PlanDirection& direction,
                                              const WireDesc& desc);

}  // namespace longspan
