// The scheme auto: one layout for all layers, for each layer and direction no scheme that is predicted to be slower
// than another, and packed documents as a pretraining run has them in balance.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "parallel/context/auto.h"
#include "parallel/context/plan_cost.h"
#include "parallel/context/validator.h"
#include "tests/parallel/context_cases.h"

namespace longspan {
namespace {

double seconds_of(const ContextPlan& plan, const ContextSite& site) {
  return price(plan, plan.forward, site).seconds + price(plan, plan.backward, site).seconds;
}

TEST(ContextAuto, PlansWhateverTheProblem) {
  for (const ContextProblem& problem : context_cases::small_problems())
    for (const int ranks : {1, 2, 3, 4, 7, 8}) {
      SCOPED_TRACE(context_cases::describe("auto", problem, ranks));
      const LayerPlans layers = make_layer_plans(kAutoScheme, {&problem, 1}, ranks);
      ASSERT_EQ(layers.plans.size(), 1u);
      EXPECT_FALSE(find_fault(layers.plans[0]));
      EXPECT_NE(layers.why.find("ring"), std::string::npos);
    }
}

TEST(ContextAuto, IsNoSlowerThanAnyNamedScheme) {
  for (const std::vector<std::int64_t>& cu_seqlens :
       {std::vector<std::int64_t>{0, 1 << 15}, {0, 700, 701, 701, 20000}, {0, 8192, 16384, 24576, 32768}})
    for (ContextProblem problem :
         {ContextProblem{{}, 32, 8, true, 0}, ContextProblem{{}, 4, 4, true, 512}, ContextProblem{{}, 2, 1, false, 0}})
      for (const int per_node : {0, 4}) {
        problem.cu_seqlens = cu_seqlens;
        ContextSite site(16);
        site.ranks_per_node = per_node;
        const double chosen = seconds_of(make_context_plan(kAutoScheme, problem, site), site);
        for (const ContextPlanner* planner : context_planners()) {
          if (planner->why_unsupported(problem, site)) continue;
          EXPECT_LE(chosen, seconds_of(planner->plan(problem, site), site)) << planner->name();
        }
      }
}

TEST(ContextAuto, LayersShareOneHome) {
  const std::vector<std::int64_t> cu_seqlens{0, 30000, 65536};
  const std::vector<ContextProblem> problems = {
      {cu_seqlens, 16, 4, true, 0}, {cu_seqlens, 16, 4, true, 1024}, {cu_seqlens, 16, 16, false, 0}};
  const LayerPlans layers = make_layer_plans(kAutoScheme, problems, 8);
  ASSERT_EQ(layers.plans.size(), problems.size());
  for (std::size_t i = 0; i < problems.size(); ++i) {
    EXPECT_EQ(layers.plans[i].home, layers.plans[0].home);
    EXPECT_EQ(layers.plans[i].problem, problems[i]);
  }
  EXPECT_EQ(std::count(layers.why.begin(), layers.why.end(), '\n'), 3);
}

TEST(ContextAuto, KeepsWindowsWhereTheyAre) {
  // A window much shorter than a shard: anything but contiguous tokens would send all keys round.
  const ContextPlan plan = make_context_plan(kAutoScheme, {{0, 1 << 17}, 32, 8, true, 256}, 8);
  EXPECT_EQ(plan.home, context_planner("ring").home(plan.problem, 8));
  for (const PlanTransfer& transfer : plan.forward.transfers) EXPECT_LT(transfer.range.count(), 256);
}

// Lengths by the quantiles of a published pretraining mix (mean 3962, median 3227, 90 % 5784, 99 % 26070, 99.9 %
// 119836, most 124913), of which half the short ones are kept, the long ones counted four times, all doubled, packed to
// 128K.
std::vector<std::vector<std::int64_t>> pretraining_packs(int count) {
  constexpr double kQuantiles[][2] = {{0, 200}, {0.5, 3227}, {0.9, 5784}, {0.99, 26070}, {0.999, 119836}, {1, 124913}};
  constexpr std::int64_t kPack = 131072;
  std::mt19937 random(42);
  std::uniform_real_distribution<double> uniform(0, 1);
  const auto draw_length = [&] {
    const double u = uniform(random);
    int i = 0;
    while (u > kQuantiles[i + 1][0]) ++i;
    const double part = (u - kQuantiles[i][0]) / (kQuantiles[i + 1][0] - kQuantiles[i][0]);
    const double low = std::log(kQuantiles[i][1]), high = std::log(kQuantiles[i + 1][1]);
    return static_cast<std::int64_t>(std::exp(low + part * (high - low)));
  };
  std::vector<std::vector<std::int64_t>> packs{{0}};
  while (static_cast<int>(packs.size()) <= count) {
    const std::int64_t length = draw_length();
    const bool is_long = length >= 65536;
    if (!is_long && uniform(random) < 0.5) continue;
    for (int copies = is_long ? 4 : 1; copies > 0; --copies)
      for (std::int64_t left = 2 * length; left > 0;) {
        const std::int64_t part = std::min(left, kPack - packs.back().back());
        packs.back().push_back(packs.back().back() + part);
        left -= part;
        if (packs.back().back() == kPack) packs.push_back({0});
      }
  }
  packs.resize(static_cast<std::size_t>(count));
  return packs;
}

TEST(ContextAuto, BalancesPretrainingDocuments) {
  for (const std::vector<std::int64_t>& cu_seqlens : pretraining_packs(12))
    for (const int ranks : {8, 64}) {
      const ContextPlan plan = make_context_plan(kAutoScheme, {cu_seqlens, 32, 8, true, 0}, ranks);
      EXPECT_LE(balance_of_totals(plan, plan.forward), 1.01) << plan.scheme << " over " << ranks;
      EXPECT_LE(balance_of_totals(plan, plan.backward), 1.01) << plan.scheme << " over " << ranks;
      RecordProperty(fmt::format("balance_{}_{}", ranks, plan.scheme),
                     std::to_string(balance_of_totals(plan, plan.forward)));
    }
}

TEST(PlanCost, CountsWhatIsHidden) {
  // Four equal blocks in a ring: each hop takes as long as the site says, under tasks that are longer or shorter.
  const ContextProblem problem{{0, 4096}, 8, 8, false, 0};
  ContextSite site(4);
  site.costs = {.flops_per_second = 1e12,
                .node_bytes_per_second = 1e12,
                .network_bytes_per_second = 1e12,
                .seconds_per_message = 0,
                .seconds_per_task = 0};
  const ContextPlan plan = make_context_plan("ring", problem, site);
  const double block = 1024.0 * 1024 * 8 * 2 * (64 + 64) / 1e12;
  const PlanCost fast = price(plan, plan.forward, site);
  EXPECT_NEAR(fast.compute_seconds, 4 * block, 1e-9);
  EXPECT_NEAR(fast.exposed_seconds(), 0, 1e-9);
  site.costs.node_bytes_per_second = 1024.0 * 8 * (64 + 64) * 2 / (3 * block);  // a hop takes three tasks
  const PlanCost slow = price(plan, plan.forward, site);
  EXPECT_NEAR(slow.seconds, 3 * 3 * block + block, 1e-9);
}

}  // namespace
}  // namespace longspan
