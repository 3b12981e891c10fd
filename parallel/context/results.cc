#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "parallel/context/proof.h"
#include "parallel/context/token_block.h"

namespace longspan {
namespace {

// Partial results of other ranks' tokens that a rank still owes, and the step with the last share in them.
struct Owed {
  TokenBlock block;
  int last_step = 0;
};

void add_owed(std::vector<Owed>& owed, const Owed& more) {
  if (!owed.empty()) {
    Owed& last = owed.back();
    const bool alike = last.last_step == more.last_step && last.block.head_begin == more.block.head_begin &&
                       last.block.head_end == more.block.head_end;
    if (alike && last.block.begin <= more.block.begin && more.block.begin <= last.block.end) {
      last.block.end = std::max(last.block.end, more.block.end);
      return;
    }
  }
  owed.push_back(more);
}

// Follows the shares of one kind of result from the tasks that make them to their owners.
class Shares {
 public:
  Shares(const DirectionProof& proof, TransferKind kind) : proof_(proof), kind_(kind) {
    const std::int64_t group = proof.plan.problem.heads / proof.plan.problem.kv_heads;
    std::pair<int, int> place{-1, -1};
    std::vector<Owed>* owed = nullptr;  // at `place`: tasks of a rank on one block mostly stand together
    for (const PlanTask& task : proof.direction.tasks) {
      const TokenRange& range = has_kv_heads(kind) ? task.kv : task.q;
      if (range.owner == task.rank) continue;
      const std::int64_t divisor = has_kv_heads(kind) ? group : 1;
      const TokenBlock block{range.begin, range.end, task.head_begin / divisor, (task.head_end - 1) / divisor + 1};
      if (place != std::pair(task.rank, range.owner)) {
        place = {task.rank, range.owner};
        owed = &owed_[place];
      }
      add_owed(*owed, {block, task.step});
    }
  }

  std::optional<std::string> find_fault() {
    std::vector<const PlanTransfer*> transfers;
    for (const PlanTransfer& t : proof_.direction.transfers)
      if (t.kind == kind_) transfers.push_back(&t);
    std::stable_sort(transfers.begin(), transfers.end(),
                     [](const PlanTransfer* a, const PlanTransfer* b) { return a->step < b->step; });
    for (const PlanTransfer* t : transfers)
      if (auto fault = move(*t)) return fault;
    for (const auto& [place, list] : owed_)
      if (!list.empty())
        return fmt::format("{}: {} of rank {}, tokens {} … {}, stays on rank {} and never reaches its owner",
                           proof_.name, name_of(kind_), place.second, list.front().block.begin,
                           list.front().block.end - 1, place.first);
    return std::nullopt;
  }

 private:
  std::optional<std::string> move(const PlanTransfer& t) {
    const int owner = t.range.owner;
    if (t.from == owner) return fmt::format("{} takes a result away from its owner", describe(proof_, t));
    const TokenBlock sent{t.range.begin, t.range.end, t.head_begin, t.head_end};
    std::vector<Owed> kept, moved;
    std::vector<TokenBlock> rest;
    std::vector<Owed>& held = owed_[{t.from, owner}];
    for (const Owed& owed : held) {
      const TokenBlock common = intersection(owed.block, sent);
      if (common.empty()) {
        kept.push_back(owed);
        continue;
      }
      if (owed.last_step > t.step)
        return fmt::format("{} leaves before the share of step {} is in it", describe(proof_, t), owed.last_step);
      add_owed(moved, {common, t.step + 1});
      rest.clear();
      append_difference(owed.block, sent, rest);
      for (const TokenBlock& block : rest) kept.push_back({block, owed.last_step});
    }
    if (moved.empty()) return fmt::format("{} sends a result of which the sender holds no share", describe(proof_, t));
    held = std::move(kept);
    if (t.to == owner) return std::nullopt;
    // In order, so that shares of the same tokens become one: lists stay as short as there are stretches.
    std::sort(moved.begin(), moved.end(), [](const Owed& a, const Owed& b) {
      return std::tie(a.block.head_begin, a.block.head_end, a.block.begin) <
             std::tie(b.block.head_begin, b.block.head_end, b.block.begin);
    });
    std::vector<Owed>& received = owed_[{t.to, owner}];
    for (const Owed& owed : moved) add_owed(received, owed);
    return std::nullopt;
  }

  const DirectionProof& proof_;
  const TransferKind kind_;
  std::map<std::pair<int, int>, std::vector<Owed>> owed_;  // by (rank, owner)
};

}  // namespace

std::optional<std::string> find_result_fault(const DirectionProof& proof) {
  if (&proof.direction == &proof.plan.forward) return Shares(proof, TransferKind::kOutput).find_fault();
  if (auto fault = Shares(proof, TransferKind::kQueryGradient).find_fault()) return fault;
  return Shares(proof, TransferKind::kKeyValueGradient).find_fault();
}

}  // namespace longspan
