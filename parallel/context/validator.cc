#include "parallel/context/validator.h"

#include <array>

#include "parallel/context/problem.h"
#include "parallel/context/proof.h"

namespace longspan {
namespace {

std::optional<std::string> find_direction_fault(const DirectionProof& proof) {
  constexpr std::array kParts = {find_field_fault, find_order_fault, find_coverage_fault, find_residency_fault,
                                 find_result_fault};
  for (const auto part : kParts)
    if (std::optional<std::string> fault = part(proof)) return fault;
  return std::nullopt;
}

}  // namespace

std::optional<std::string> find_fault(const ContextPlan& plan) {
  if (std::optional<std::string> fault = why_invalid(plan.problem, plan.ranks)) return fault;
  if (std::optional<std::string> fault = find_ownership_fault(plan)) return fault;
  const std::vector<Shard> shards = cut_by_documents(plan);
  if (std::optional<std::string> fault = find_direction_fault({plan, plan.forward, "forward", shards})) return fault;
  return find_direction_fault({plan, plan.backward, "backward", shards});
}

bool is_operand(TransferKind kind) {
  return kind == TransferKind::kQuery || kind == TransferKind::kKeyValue || kind == TransferKind::kOutputGradient;
}

bool has_kv_heads(TransferKind kind) {
  return kind == TransferKind::kKeyValue || kind == TransferKind::kKeyValueGradient;
}

std::string describe(const DirectionProof& proof, const PlanTask& task) {
  return fmt::format(
      "{} task {} (rank {}, step {}: queries {} … {} of rank {} x keys {} … {} of rank {}, heads {} … {})", proof.name,
      &task - proof.direction.tasks.data(), task.rank, task.step, task.q.begin, task.q.end - 1, task.q.owner,
      task.kv.begin, task.kv.end - 1, task.kv.owner, task.head_begin, task.head_end - 1);
}

std::string describe(const DirectionProof& proof, const PlanTransfer& transfer) {
  return fmt::format(
      "{} transfer {} ({} of rank {}, tokens {} … {}, heads {} … {}, from rank {} to rank {} in step {})", proof.name,
      &transfer - proof.direction.transfers.data(), name_of(transfer.kind), transfer.range.owner, transfer.range.begin,
      transfer.range.end - 1, transfer.head_begin, transfer.head_end - 1, transfer.from, transfer.to, transfer.step);
}

}  // namespace longspan
