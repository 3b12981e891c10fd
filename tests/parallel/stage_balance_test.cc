#include "parallel/pipeline/stage_balance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <random>

#include "tests/support/expect_error.h"

namespace longspan::testing {
namespace {

double dearest(const std::vector<double>& costs, const std::vector<std::int64_t>& begins) {
  double most = 0;
  for (std::size_t s = 0; s + 1 < begins.size(); ++s)
    most = std::max(most, std::accumulate(costs.begin() + begins[s], costs.begin() + begins[s + 1], 0.0));
  return most;
}

// By trying every cut.
double best_of_all(const std::vector<double>& costs, std::size_t begin, int stages) {
  if (stages == 1) return std::accumulate(costs.begin() + static_cast<std::ptrdiff_t>(begin), costs.end(), 0.0);
  double best = std::numeric_limits<double>::infinity(), first = 0;
  for (std::size_t end = begin + 1; end + static_cast<std::size_t>(stages) - 1 <= costs.size(); ++end) {
    first += costs[end - 1];
    best = std::min(best, std::max(first, best_of_all(costs, end, stages - 1)));
  }
  return best;
}

TEST(StageBalance, IsAsGoodAsTheBestOfAllCuts) {
  std::mt19937_64 generator(7);
  std::uniform_int_distribution<int> cost(0, 20);
  for (int n = 1; n <= 9; ++n)
    for (int stages = 1; stages <= n; ++stages)
      for (int repeat = 0; repeat < 10; ++repeat) {
        std::vector<double> costs(static_cast<std::size_t>(n));
        for (double& c : costs) c = cost(generator);
        const std::vector<std::int64_t> begins = balance_stages(costs, stages);
        ASSERT_EQ(begins.size(), static_cast<std::size_t>(stages) + 1);
        EXPECT_EQ(begins.front(), 0);
        EXPECT_EQ(begins.back(), n);
        for (std::size_t s = 0; s + 1 < begins.size(); ++s) EXPECT_LT(begins[s], begins[s + 1]) << "an empty stage";
        EXPECT_EQ(dearest(costs, begins), best_of_all(costs, 0, stages));
      }
}

TEST(StageBalance, EqualLayersAreSharedEvenly) {
  const std::vector<double> layers(10, 1.0);
  EXPECT_EQ(balance_stages(layers, 4), (std::vector<std::int64_t>{0, 2, 5, 7, 10}));
}

TEST(StageBalance, ADearHeadTakesLayersFromTheLastStage) {
  std::vector<double> costs(9, 1.0);
  costs.push_back(3.0);  // the head
  EXPECT_EQ(balance_stages(costs, 2), (std::vector<std::int64_t>{0, 6, 10}));
}

TEST(StageBalance, FewerLayersThanStagesAreRefused) {
  expect_error(ErrorKind::kUsage, {"3 layers", "4 pipeline stages", "at most 3"},
               [] { balance_stages(std::vector<double>(3, 1.0), 4); });
}

}  // namespace
}  // namespace longspan::testing
