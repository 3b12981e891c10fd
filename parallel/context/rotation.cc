#include "parallel/context/rotation.h"

#include <algorithm>

#include "parallel/context/visibility.h"

namespace longspan {
namespace {

struct Stretch {
  std::int64_t begin = 0, end = 0;
  bool empty() const { return begin == end; }
};

Stretch hull(const Stretch& a, const Stretch& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

// One value for each step and rank. A block stands on the diagonals: it is on rank r+1 one step after rank r.
class StepTable {
 public:
  explicit StepTable(int ranks) : ranks_(ranks), values_(static_cast<std::size_t>(ranks) * ranks) {}
  Stretch& at(int step, int rank) { return values_[static_cast<std::size_t>(step) * ranks_ + rank]; }
  int next(int rank) const { return rank + 1 == ranks_ ? 0 : rank + 1; }
  int previous(int rank) const { return rank == 0 ? ranks_ - 1 : rank - 1; }
  int owner(int step, int rank) const { return rank >= step ? rank - step : rank - step + ranks_; }

 private:
  int ranks_;
  std::vector<Stretch> values_;
};

// The tasks of all steps, and the keys of its step's block that each rank has use for.
std::vector<PlanTask> plan_tasks(const ContextPlan& plan, StepTable& needed) {
  const std::vector<Shard> shards = cut_by_documents(plan);
  const VisibleDistances visible = visible_distances(plan.problem);
  std::vector<PlanTask> tasks;
  std::vector<VisibleBlock> blocks;
  for (int step = 0; step < plan.ranks; ++step)
    for (int rank = 0; rank < plan.ranks; ++rank) {
      const int owner = needed.owner(step, rank);
      blocks.clear();
      append_visible(visible, shards[rank], shards[owner], blocks);
      for (const VisibleBlock& block : blocks) {
        tasks.push_back({rank,
                         step,
                         {rank, block.q_begin, block.q_end},
                         {owner, block.kv_begin, block.kv_end},
                         0,
                         plan.problem.heads,
                         block.band});
        needed.at(step, rank) = hull(needed.at(step, rank), {block.kv_begin, block.kv_end});
      }
    }
  return tasks;
}

// What arrives at each step's rank: its own need and that of the ranks after it in the chain.
StepTable plan_arrivals(StepTable& needed, int ranks) {
  StepTable arriving(ranks);
  for (int step = ranks - 1; step > 0; --step)
    for (int rank = 0; rank < ranks; ++rank) {
      const Stretch need = needed.at(step, rank);
      if (need.empty()) continue;
      const bool goes_on = step + 1 < ranks && !needed.at(step + 1, needed.next(rank)).empty();
      arriving.at(step, rank) = goes_on ? hull(need, arriving.at(step + 1, needed.next(rank))) : need;
    }
  return arriving;
}

// The gradients each step's rank hands on: its own share and those of the ranks before it in the chain.
StepTable plan_shares(StepTable& needed, int ranks) {
  StepTable shares(ranks);
  for (int step = 1; step < ranks; ++step)
    for (int rank = 0; rank < ranks; ++rank) {
      const Stretch need = needed.at(step, rank);
      if (need.empty()) continue;
      shares.at(step, rank) = hull(need, shares.at(step - 1, needed.previous(rank)));
    }
  return shares;
}

}  // namespace

ContextPlan plan_rotation(std::string_view scheme, const ContextProblem& problem,
                          std::vector<std::vector<TokenRun>> home) {
  ContextPlan plan;
  plan.scheme = scheme;
  plan.ranks = static_cast<int>(home.size());
  plan.problem = problem;
  plan.home = std::move(home);

  StepTable needed(plan.ranks);
  plan.forward.tasks = plan_tasks(plan, needed);
  plan.backward.tasks = plan.forward.tasks;
  StepTable arriving = plan_arrivals(needed, plan.ranks);
  StepTable shares = plan_shares(needed, plan.ranks);
  for (int step = 0; step < plan.ranks; ++step) {
    for (int rank = 0; rank < plan.ranks && step + 1 < plan.ranks; ++rank) {
      const Stretch block = arriving.at(step + 1, rank);
      if (block.empty()) continue;
      const int owner = needed.owner(step + 1, rank), before = needed.previous(rank);
      const int from = step > 0 && needed.at(step, before).empty() ? owner : before;
      plan.forward.transfers.push_back(
          {TransferKind::kKeyValue, from, rank, step, {owner, block.begin, block.end}, 0, problem.kv_heads});
      plan.backward.transfers.push_back(plan.forward.transfers.back());
    }
    for (int rank = 0; rank < plan.ranks; ++rank) {
      const Stretch share = shares.at(step, rank);
      if (share.empty()) continue;
      const int owner = needed.owner(step, rank), next = needed.next(rank);
      const bool goes_on = step + 1 < plan.ranks && !needed.at(step + 1, next).empty();
      plan.backward.transfers.push_back({TransferKind::kKeyValueGradient,
                                         rank,
                                         goes_on ? next : owner,
                                         step,
                                         {owner, share.begin, share.end},
                                         0,
                                         problem.kv_heads});
    }
  }
  return plan;
}

}  // namespace longspan
