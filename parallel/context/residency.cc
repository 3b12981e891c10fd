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

  // What of a block is not at hand on a rank in a step, in words; nullopt: all is.
  std::optional<std::string> find_lacking(TransferKind kind, int rank, int owner, const TokenBlock& block, int step) {
    if (rank == owner) return std::nullopt;
    const std::vector<Delivery>& deliveries = by_place_[key(kind, rank, owner)];
    lacking_.assign(1, block);
    for (const Delivery& delivery : deliveries) {
      if (delivery.from_step > step) continue;
      rest_.clear();
      for (const TokenBlock& part : lacking_) append_difference(part, delivery.block, rest_);
      lacking_.swap(rest_);
      if (lacking_.empty()) return std::nullopt;
    }
    const TokenBlock& part = lacking_.front();
    std::string when = "which never comes";
    for (const Delivery& delivery : deliveries)
      if (delivery.from_step > step && !intersection(part, delivery.block).empty())
        when = fmt::format("but it comes in step {}", delivery.from_step);
    return fmt::format("{} of rank {}, tokens {} … {}, heads {} … {}, {}", name_of(kind), owner, part.begin,
                       part.end - 1, part.head_begin, part.head_end - 1, when);
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
    if (const auto lacking = deliveries.find_lacking(t.kind, t.from, t.range.owner, block, t.step))
      return fmt::format("{} is sent before it is at hand: {}", describe(proof, t), *lacking);
  }
  const std::int64_t group = proof.plan.problem.heads / proof.plan.problem.kv_heads;
  const bool backward = &proof.direction == &proof.plan.backward;
  for (const PlanTask& task : proof.direction.tasks) {
    const TokenBlock queries{task.q.begin, task.q.end, task.head_begin, task.head_end};
    const TokenBlock keys{task.kv.begin, task.kv.end, task.head_begin / group, (task.head_end - 1) / group + 1};
    auto lacking = deliveries.find_lacking(TransferKind::kKeyValue, task.rank, task.kv.owner, keys, task.step);
    if (!lacking) lacking = deliveries.find_lacking(TransferKind::kQuery, task.rank, task.q.owner, queries, task.step);
    if (!lacking && backward)
      lacking = deliveries.find_lacking(TransferKind::kOutputGradient, task.rank, task.q.owner, queries, task.step);
    if (lacking) return fmt::format("{} needs {}", describe(proof, task), *lacking);
  }
  return std::nullopt;
}

}  // namespace longspan
