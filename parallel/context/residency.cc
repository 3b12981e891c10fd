#include <array>
#include <unordered_map>

#include "parallel/context/proof.h"
#include "parallel/context/token_block.h"

namespace longspan {
namespace {

struct Delivery {
  TokenBlock block;
  int from_step = 0;  // at hand in this step and all later ones
};

// What each rank has of other ranks' operands, and from when on. A rank has its own from the start.
class Deliveries {
 public:
  explicit Deliveries(const PlanDirection& direction) {
    for (const PlanTransfer& t : direction.transfers)
      if (is_operand(t.kind))
        by_place_[key(t.kind, t.to, t.range.owner)].push_back(
            {{t.range.begin, t.range.end, t.head_begin, t.head_end}, t.step + 1});
  }

  bool has(TransferKind kind, int rank, int owner, const TokenBlock& block, int step) {
    if (rank == owner) return true;
    const auto found = by_place_.find(key(kind, rank, owner));
    if (found == by_place_.end()) return false;
    lacking_.assign(1, block);
    for (const Delivery& delivery : found->second) {
      if (delivery.from_step > step) continue;
      rest_.clear();
      for (const TokenBlock& part : lacking_) append_difference(part, delivery.block, rest_);
      lacking_.swap(rest_);
      if (lacking_.empty()) return true;
    }
    return false;
  }

 private:
  static std::uint64_t key(TransferKind kind, int rank, int owner) {
    return static_cast<std::uint64_t>(kind) << 60 | static_cast<std::uint64_t>(rank) << 30 |
           static_cast<std::uint64_t>(owner);
  }

  std::unordered_map<std::uint64_t, std::vector<Delivery>> by_place_;
  std::vector<TokenBlock> lacking_, rest_;
};

}  // namespace

std::optional<std::string> find_residency_fault(const DirectionProof& proof) {
  Deliveries deliveries(proof.direction);
  for (const PlanTransfer& t : proof.direction.transfers) {
    if (!is_operand(t.kind)) continue;
    if (t.to == t.range.owner) return fmt::format("{} brings an owner what is its own", describe(proof, t));
    const TokenBlock block{t.range.begin, t.range.end, t.head_begin, t.head_end};
    if (!deliveries.has(t.kind, t.from, t.range.owner, block, t.step))
      return fmt::format("{} is sent before the sender has it", describe(proof, t));
  }
  const std::int64_t group = proof.plan.problem.heads / proof.plan.problem.kv_heads;
  const bool backward = &proof.direction == &proof.plan.backward;
  for (const PlanTask& task : proof.direction.tasks) {
    const TokenBlock queries{task.q.begin, task.q.end, task.head_begin, task.head_end};
    const TokenBlock keys{task.kv.begin, task.kv.end, task.head_begin / group, (task.head_end - 1) / group + 1};
    if (!deliveries.has(TransferKind::kKeyValue, task.rank, task.kv.owner, keys, task.step))
      return fmt::format("{} needs keys and values that are not at hand", describe(proof, task));
    if (!deliveries.has(TransferKind::kQuery, task.rank, task.q.owner, queries, task.step))
      return fmt::format("{} needs queries that are not at hand", describe(proof, task));
    if (backward && !deliveries.has(TransferKind::kOutputGradient, task.rank, task.q.owner, queries, task.step))
      return fmt::format("{} needs output gradients that are not at hand", describe(proof, task));
  }
  return std::nullopt;
}

}  // namespace longspan
