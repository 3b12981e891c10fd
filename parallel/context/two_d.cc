// Two dimensions (USP, Fang & Zhao 2024; LoongTrain, Gu et al. 2024): heads are shared out within groups of ranks, and
// blocks travel round from group to group, over striped tokens. A ring of fewer hops, and no more ranks on a head
// than its tokens are worth.
#include <cmath>
#include <optional>

#include "parallel/context/planners.h"
#include "parallel/context/rotation.h"

namespace longspan {
namespace {

constexpr std::int64_t kColumnsOfANode = 16;

// Bytes a rank sends for each of its tokens, in units of one head's operand: queries and outputs (at four bytes) to the
// other columns; keys and values from group to group.
double head_exchange(const ContextProblem& problem, int columns) {
  return static_cast<double>(3 * problem.heads + 2 * problem.kv_heads) * (columns - 1) / columns;
}
double ring_hops(const ContextProblem& problem, int groups) {
  return static_cast<double>(2 * problem.kv_heads) * (groups - 1);
}

class TwoDPlanner final : public ContextPlanner {
 public:
  std::string_view name() const override { return "two_d"; }
  std::string_view summary() const override {
    return "heads shared out within groups, keys and values travel from group to group, over striped tokens";
  }

  Refusal why_unsupported(const ContextProblem& problem, const ContextSite& site) const override {
    const std::optional<RankGrid> grid = grid_of(problem, site);
    if (!grid)
      return fmt::format("{} ranks are no product of two numbers; use another number of ranks, or striped", site.ranks);
    return why_too_many_rectangles(problem, home(problem, site), grid->columns);
  }

  Home home(const ContextProblem& problem, const ContextSite& site) const override {
    Home striped = striped_home(problem, site.ranks);
    // So many documents that every pair of ranks had a rectangle of each: not all ranks need share the short ones.
    return why_too_many_rectangles(problem, striped, kColumnsOfANode) ? zigzag_home(problem, site.ranks) : striped;
  }

  ContextPlan plan(const ContextProblem& problem, const ContextSite& site) const override {
    const std::optional<RankGrid> grid = grid_of(problem, site);
    LS_CHECK(grid, "two_d over {} ranks and {} heads", site.ranks, problem.heads);
    Rotation rotation = make_rotation(name(), *grid, problem, site);
    rotation.lanes = head_lanes(problem, grid->columns, 1);
    return plan_rotation(rotation, problem, home(problem, site));
  }

 private:
  // Columns that divide the heads if any do (ranks that share a head are not as even), key/value heads too if that can
  // be. On one node as square as possible; over several, as many columns as fit a node. One rank is a grid of one.
  static std::optional<RankGrid> grid_of(const ContextProblem& problem, const ContextSite& site) {
    if (site.ranks == 1) return RankGrid{};
    const int node = site.node_size();
    std::optional<RankGrid> best;
    double best_worth = 0;
    for (int columns = 2; columns < site.ranks; ++columns) {
      if (site.ranks % columns != 0) continue;
      const int groups = site.ranks / columns;
      double worth = 1 / (1 + std::abs(std::log(static_cast<double>(columns) / groups)));
      if (node < site.ranks) worth = node % columns == 0 ? 1.0 + columns : 1.0 / columns;
      if (problem.heads % columns == 0) worth += 2.0 * site.ranks;
      if (problem.kv_heads % columns == 0) worth += 4.0 * site.ranks;
      if (best && worth <= best_worth) continue;
      best = RankGrid{groups, columns, order_of(problem, site, groups, columns)};
      best_worth = worth;
    }
    return best;
  }

  // What sends more bytes stays within a node, if it fits there.
  static RankOrder order_of(const ContextProblem& problem, const ContextSite& site, int groups, int columns) {
    const int node = site.node_size();
    const bool ring_fits = node % groups == 0, heads_fit = node % columns == 0;
    const bool ring_is_heavier = ring_hops(problem, groups) > head_exchange(problem, columns);
    return ring_fits && (ring_is_heavier || !heads_fit) && node < site.ranks ? RankOrder::kGroupsAdjacent
                                                                             : RankOrder::kColumnsAdjacent;
  }
};

}  // namespace

const ContextPlanner& two_d_planner() {
  static const TwoDPlanner planner;
  return planner;
}

}  // namespace longspan
