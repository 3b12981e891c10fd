// The parts of the validator, in the order in which they run: each may rely on what those before it have proved. All
// return one sentence about the first fault they find, or nullopt.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/context/context_plan.h"
#include "parallel/context/layout.h"
#include "parallel/context/visibility.h"

namespace longspan {

// A direction of a plan under proof.
struct DirectionProof {
  const ContextPlan& plan;
  const PlanDirection& direction;
  std::string_view name;             // "forward", "backward": begins every sentence about it
  const std::vector<Shard>& shards;  // of plan.home; to be used once homes are proved
};

// ownership.cc: every token of the batch has one owner. The second says it of a home alone.
std::optional<std::string> find_ownership_fault(const ContextPlan& plan);
std::optional<std::string> find_home_fault(const Home& home, std::int64_t num_tokens);
// field_bounds.cc: every rank, step, range, head and band that is named exists.
std::optional<std::string> find_field_fault(const DirectionProof& proof);
// coverage.cc: every visible (query, key, head) is computed once, and nothing else.
std::optional<std::string> find_coverage_fault(const DirectionProof& proof);
// message_order.cc: between two ranks, receives can meet their sends in order.
std::optional<std::string> find_order_fault(const DirectionProof& proof);
// residency.cc: operands are at hand when used or sent.
std::optional<std::string> find_residency_fault(const DirectionProof& proof);
// results.cc: partial results reach their owners, each share once and whole.
std::optional<std::string> find_result_fault(const DirectionProof& proof);

// "task 3 (rank 1, step 0: queries 0 … 63 of rank 1 x keys 0 … 63 of rank 0, heads 0 … 7)": places in local order.
std::string describe(const DirectionProof& proof, const PlanTask& task);
// "transfer 5 (kv of rank 0, tokens 0 … 63, heads 0 … 1, from rank 0 to rank 1 in step 0)".
std::string describe(const DirectionProof& proof, const PlanTransfer& transfer);

bool is_operand(TransferKind kind);
bool has_kv_heads(TransferKind kind);

}  // namespace longspan
