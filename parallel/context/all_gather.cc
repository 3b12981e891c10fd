// All-gather attention (of Llama 3's training, Dubey et al. 2024): every rank fetches the keys and values its queries
// see, straight from their owners, by lots of heads, each lot under the tasks of the one before. Over the zigzag
// layout. Few, large messages and the simplest order of steps, for more memory than a ring.
#include <algorithm>

#include "parallel/context/layout.h"
#include "parallel/context/planners.h"
#include "parallel/context/visibility.h"

namespace longspan {
namespace {

constexpr std::int64_t kLots = 4;

class AllGatherPlanner final : public ContextPlanner {
 public:
  std::string_view name() const override { return "all_gather"; }
  std::string_view summary() const override {
    return "every rank fetches all keys and values it sees, by lots of heads; few large messages, most memory";
  }
  Refusal why_unsupported(const ContextProblem& problem, const ContextSite& site) const override {
    return why_too_many_rectangles(problem, home(problem, site), std::min(kLots, problem.kv_heads));
  }
  Home home(const ContextProblem& problem, const ContextSite& site) const override {
    return zigzag_home(problem, site.ranks);
  }

  ContextPlan plan(const ContextProblem& problem, const ContextSite& site) const override {
    ContextPlan plan;
    plan.scheme = name();
    plan.ranks = site.ranks;
    plan.problem = problem;
    plan.home = home(problem, site);
    const std::vector<Shard> shards = cut_by_documents(plan);
    const std::int64_t lots = std::min(kLots, problem.kv_heads);
    // In step s: own keys of lot s, fetched keys of lot s-1, and lot s on its way.
    for (int step = 0; step <= lots; ++step)
      for (int rank = 0; rank < site.ranks; ++rank) {
        if (step > 0) add_fetched(plan, shards, rank, step - 1, lots);
        if (step < lots) add_tasks(plan, shards, rank, rank, step, lot_of(problem, step, lots));
      }
    const auto by_step = [](const PlanTransfer& a, const PlanTransfer& b) { return a.step < b.step; };
    std::stable_sort(plan.forward.transfers.begin(), plan.forward.transfers.end(), by_step);
    const auto by_step_and_kind = [](const PlanTransfer& a, const PlanTransfer& b) {
      return std::pair(a.step, a.kind) < std::pair(b.step, b.kind);
    };
    std::stable_sort(plan.backward.transfers.begin(), plan.backward.transfers.end(), by_step_and_kind);
    plan.backward.tasks = plan.forward.tasks;
    return plan;
  }

 private:
  struct Lot {
    std::int64_t kv_begin, kv_end;
  };
  static Lot lot_of(const ContextProblem& problem, int lot, std::int64_t lots) {
    return {problem.kv_heads * lot / lots, problem.kv_heads * (lot + 1) / lots};
  }

  // The keys the tasks read, as one stretch of the owner's; empty: none.
  static TokenRange add_tasks(ContextPlan& plan, const std::vector<Shard>& shards, int rank, int owner, int step,
                              const Lot& lot) {
    const std::int64_t group = plan.problem.heads / plan.problem.kv_heads;
    std::vector<VisibleBlock> blocks;
    append_visible(visible_distances(plan.problem), shards[static_cast<std::size_t>(rank)],
                   shards[static_cast<std::size_t>(owner)], blocks);
    TokenRange read{owner, plan.tokens_of(owner), 0};
    for (const VisibleBlock& block : blocks) {
      plan.forward.tasks.push_back({rank,
                                    step,
                                    {rank, block.q_begin, block.q_end},
                                    {owner, block.kv_begin, block.kv_end},
                                    lot.kv_begin * group,
                                    lot.kv_end * group,
                                    block.band});
      read.begin = std::min(read.begin, block.kv_begin);
      read.end = std::max(read.end, block.kv_end);
    }
    return read;
  }

  // Lot `number`, fetched in its step, used in the next; gradients go home after that.
  static void add_fetched(ContextPlan& plan, const std::vector<Shard>& shards, int rank, int number,
                          std::int64_t lots) {
    const Lot lot = lot_of(plan.problem, number, lots);
    for (int distance = 1; distance < plan.ranks;
         ++distance) {  // each begins with its neighbour: no rank is all's first
      const int owner = (rank + distance) % plan.ranks;
      const TokenRange read = add_tasks(plan, shards, rank, owner, number + 1, lot);
      if (read.begin >= read.end) continue;
      const PlanTransfer fetch{TransferKind::kKeyValue, owner, rank, number, read, lot.kv_begin, lot.kv_end};
      plan.forward.transfers.push_back(fetch);
      plan.backward.transfers.push_back(fetch);
      plan.backward.transfers.push_back(
          {TransferKind::kKeyValueGradient, rank, owner, number + 1, read, lot.kv_begin, lot.kv_end});
    }
  }
};

}  // namespace

const ContextPlanner& all_gather_planner() {
  static const AllGatherPlanner planner;
  return planner;
}

}  // namespace longspan
