// The search against forecasting every choice there is, on worlds small enough for that.
#include "trainer/forecast/layout_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"
#include "parallel/context/planner.h"
#include "tests/trainer/forecast/forecast_cases.h"

namespace longspan {
namespace {

SearchRequest request_of(int world, double memory_bytes = 0) {
  return {.world = world, .place = {}, .memory_bytes = memory_bytes, .schemes = 100};
}

// The shortest step of any layout that fits, forecast one by one, with layouts resolved as a run does it.
double shortest_by_hand(const Config& config, const Machine& machine, const SearchRequest& request) {
  StepForecaster forecaster(config, machine, request.place);
  Refusals refused;
  double shortest = HUGE_VAL;
  for (LayoutChoice choice : layout_choices(config, request.world, refused))
    for (const ContextPlanner* planner : context_planners()) {
      choice.context_scheme = std::string(planner->name());
      const Config candidate = with_layout(config, choice);
      const ParallelLayout layout = resolve_layout(candidate, request.world);
      try {
        std::int64_t most = 0;
        for (int place = 0; place < layout.mesh.pipeline; ++place)
          most = std::max(
              most, predict_memory(candidate,
                                   {layout, {layout.mesh.rank_of({.pipeline = place})}, 1, 0, request.place.device})
                        .front()
                        .total());
        if (request.memory_bytes > 0 && static_cast<double>(most) > request.memory_bytes) continue;
        shortest = std::min(shortest, forecaster.forecast(candidate, layout).step_seconds);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kUnsupported) throw;
      }
      if (choice.mesh.context == 1) break;
    }
  return shortest;
}

TEST(LayoutSearch, FindsWhatTryingEverythingFinds) {
  const Config config = testing::experiment();
  for (const int world : {1, 2, 4}) {
    const SearchResult result = search_layouts(config, testing::real_machine(), request_of(world));
    ASSERT_FALSE(result.best.empty());
    EXPECT_DOUBLE_EQ(result.best.front().step.step_seconds,
                     shortest_by_hand(config, testing::real_machine(), request_of(world)))
        << world;
  }
}

TEST(LayoutSearch, KeepsToTheMemory) {
  const Config config = testing::experiment();
  const SearchResult free = search_layouts(config, testing::real_machine(), request_of(4));
  const double limit = static_cast<double>(free.best.front().memory_bytes) / 2;
  const SearchResult tight = search_layouts(config, testing::real_machine(), request_of(4, limit));
  ASSERT_FALSE(tight.best.empty());
  for (const FoundLayout& found : tight.best) EXPECT_LE(static_cast<double>(found.memory_bytes), limit);
  EXPECT_GE(tight.best.front().step.step_seconds, free.best.front().step.step_seconds);
  EXPECT_DOUBLE_EQ(tight.best.front().step.step_seconds,
                   shortest_by_hand(config, testing::real_machine(), request_of(4, limit)));
  EXPECT_TRUE(search_layouts(config, testing::real_machine(), request_of(4, 1000)).best.empty());
}

TEST(LayoutSearch, EachIsALayoutOfTheConfigThatRunsAndComesInOrder) {
  const Config config = testing::experiment();
  const SearchResult result = search_layouts(config, testing::real_machine(), request_of(8));
  EXPECT_GT(result.best.size(), 1U);
  EXPECT_LE(result.best.size(), 10U);
  for (std::size_t i = 0; i < result.best.size(); ++i) {
    const FoundLayout& found = result.best[i];
    EXPECT_TRUE(i == 0 || found.step.step_seconds >= result.best[i - 1].step.step_seconds);
    const ParallelLayout layout = resolve_layout(with_layout(config, found.choice), 8);
    EXPECT_EQ(layout.mesh, found.choice.mesh);
    EXPECT_EQ(layout.micro_batches, found.choice.micro_batches);
  }
}

TEST(LayoutSearch, TheFragmentIsAConfigWithTheSameLayout) {
  const SearchResult result = search_layouts(testing::experiment(), testing::real_machine(), request_of(8));
  for (const FoundLayout& found : result.best) {
    const std::string yaml = to_yaml(found.choice);
    const Config config = parse_config(yaml, "fragment.yaml",
                                       {{"data.train", "[\"synthetic:passkey\"]"},
                                        {"data.global_batch", "16"},
                                        {"data.sequence_length", "512"},
                                        {"model.layers", "8"}});
    EXPECT_EQ(resolve_layout(config, 8).mesh, found.choice.mesh) << yaml;
    EXPECT_EQ(config.model.recompute, found.choice.recompute);
    EXPECT_EQ(config.parallel.zero, found.choice.zero);
  }
}

}  // namespace
}  // namespace longspan
