// Bubbles of the schedules in unit time, against the formulas they are published with.
#include <gtest/gtest.h>

#include "parallel/pipeline/schedule_planner.h"
#include "parallel/pipeline/timeline.h"
#include "tests/parallel/pipeline_shapes.h"
#include "tests/support/expect_error.h"

namespace longspan::testing {
namespace {

// Time beyond what a rank computes, in the units of a stage's forward.
double idle_of(const PipelineSchedule& schedule) {
  const Timeline timeline = time_of(schedule, unit_costs(schedule));
  EXPECT_TRUE(timeline.is_complete);
  return timeline.end - 3.0 * schedule.micro_batches;
}

TEST(PipelineTimeline, GPipeAnd1F1BHaveThePublishedBubble) {
  for (const char* planner : {"gpipe", "1f1b"})
    for_each_shape(16, 64, 1, [&](const PipelineShape& shape) {
      const PipelineSchedule schedule = make_pipeline_schedule(planner, shape);
      const double expected =
          static_cast<double>(shape.ranks - 1) / static_cast<double>(shape.micro_batches + shape.ranks - 1);
      EXPECT_NEAR(time_of(schedule, unit_costs(schedule)).bubble(), expected, 1e-12)
          << planner << " " << shape.ranks << " ranks, " << shape.micro_batches << " micro-batches";
    });
}

TEST(PipelineTimeline, InterleavingDividesTheBubbleByItsChunks) {
  for_each_shape(16, 64, 4, [](const PipelineShape& shape) {
    if (shape.micro_batches % shape.ranks != 0) return;
    const PipelineSchedule schedule = make_pipeline_schedule("interleaved", shape);
    EXPECT_NEAR(idle_of(schedule), 3.0 * (shape.ranks - 1) / shape.chunks, 1e-9)
        << shape.ranks << " ranks, " << shape.micro_batches << " micro-batches, " << shape.chunks << " chunks";
  });
}

TEST(PipelineTimeline, ZeroBubbleLeavesAThirdOf1F1Bs) {
  for_each_shape(16, 64, 1, [](const PipelineShape& shape) {
    if (shape.micro_batches < shape.ranks) return;  // too few weight gradients to fill with
    EXPECT_NEAR(idle_of(make_pipeline_schedule("zero_bubble", shape)), shape.ranks - 1, 1e-9)
        << shape.ranks << " ranks, " << shape.micro_batches << " micro-batches";
  });
}

TEST(PipelineTimeline, FoldedChunksIdleLessThanZeroBubbleOverOne) {
  for_each_shape(16, 64, 1, [](PipelineShape shape) {
    if (shape.ranks == 1 || shape.micro_batches < shape.ranks) return;
    const double one_chunk = idle_of(make_pipeline_schedule("zero_bubble", shape));
    shape.chunks = 2;
    EXPECT_LT(idle_of(make_pipeline_schedule("zbv", shape)), one_chunk)
        << shape.ranks << " ranks, " << shape.micro_batches << " micro-batches";
  });
}

TEST(PipelineTimeline, TransfersLengthenTheWayThereAndBack) {
  const PipelineSchedule schedule = make_pipeline_schedule("gpipe", {.ranks = 3, .micro_batches = 1});
  PipelineCosts costs = unit_costs(schedule);
  costs.transfer = 0.25;
  EXPECT_DOUBLE_EQ(time_of(schedule, costs).end, 3 * 3 + 4 * 0.25);
}

TEST(PipelineTimeline, AFoldedRankHandsOverToItselfAtOnce) {
  const PipelineSchedule schedule = make_pipeline_schedule("zbv", {.ranks = 1, .micro_batches = 1, .chunks = 2});
  PipelineCosts costs = unit_costs(schedule);
  costs.transfer = 100;
  EXPECT_DOUBLE_EQ(time_of(schedule, costs).end, 3);
}

TEST(PipelineTimeline, TheSlowestStageSetsThePace) {
  const PipelineSchedule schedule = make_pipeline_schedule("1f1b", {.ranks = 2, .micro_batches = 50});
  PipelineCosts costs = unit_costs(schedule);
  costs.stages[1].forward = 2;
  EXPECT_NEAR(time_of(schedule, costs).end, 50 * 4 + 3, 1e-9);
}

// By hand, with t = 1 between the two ranks. Rank 0: F0 0-2, F1 2-5; its backwards wait. Rank 1: F0 3-4, B0 4-9 (1 +
// 4), F1 9-15 (it came at 6), B1 15-18. Rank 0 then: B0 from 10 (9 + 1) to 13, B1 from 19 (18 + 1) to 29.
TEST(PipelineTimeline, MicroBatchesThatDifferByHand) {
  const PipelineSchedule schedule = make_pipeline_schedule("1f1b", {.ranks = 2, .micro_batches = 2});
  const PipelineCosts costs{.stages = {{2, 2, 1}, {3, 4, 6}, {1, 1, 4}, {6, 2, 1}}, .transfer = 1};
  const Timeline timeline = time_of(schedule, costs);
  ASSERT_TRUE(timeline.is_complete);
  const auto expect_spans = [&](int rank, const std::vector<std::pair<double, double>>& expected) {
    const auto& spans = timeline.spans[static_cast<std::size_t>(rank)];
    ASSERT_EQ(spans.size(), expected.size());
    for (std::size_t i = 0; i < spans.size(); ++i) {
      EXPECT_DOUBLE_EQ(spans[i].begin, expected[i].first) << describe(spans[i].op, 1) << " of rank " << rank;
      EXPECT_DOUBLE_EQ(spans[i].end, expected[i].second) << describe(spans[i].op, 1) << " of rank " << rank;
    }
  };
  expect_spans(0, {{0, 2}, {2, 5}, {10, 13}, {19, 29}});
  expect_spans(1, {{3, 4}, {4, 9}, {9, 15}, {15, 18}});
  EXPECT_DOUBLE_EQ(timeline.end, 29);
  EXPECT_DOUBLE_EQ(timeline.busy_of(0), 18);
  EXPECT_DOUBLE_EQ(timeline.busy_of(1), 15);
  EXPECT_DOUBLE_EQ(timeline.bubble(), 1 - 33.0 / 58);
}

TEST(PipelineTimeline, EachBoundaryHasItsTransfer) {
  const PipelineSchedule schedule = make_pipeline_schedule("gpipe", {.ranks = 3, .micro_batches = 1});
  PipelineCosts costs = unit_costs(schedule);
  costs.transfer = 100;              // does not count beside
  costs.transfers = {0.5, 2, 1000};  // nothing is behind the last stage
  EXPECT_DOUBLE_EQ(time_of(schedule, costs).end, 3 * 3 + 2 * (0.5 + 2));
}

TEST(PipelineTimeline, EqualMicroBatchesAreAsOneCostAStage) {
  for_each_small_schedule([](const PipelineSchedule& schedule) {
    PipelineCosts by_stage = unit_costs(schedule), by_both;
    for (std::size_t s = 0; s < by_stage.stages.size(); ++s) {
      const double x = 1 + static_cast<double>(s);
      by_stage.stages[s] = {x, x / 2, x / 4};
      by_both.stages.insert(by_both.stages.end(), static_cast<std::size_t>(schedule.micro_batches), by_stage.stages[s]);
    }
    EXPECT_EQ(time_of(schedule, by_stage).end, time_of(schedule, by_both).end);
  });
}

TEST(PipelineTimeline, RefusesCostsOfAnotherPipeline) {
  const PipelineSchedule schedule = make_pipeline_schedule("1f1b", {.ranks = 2, .micro_batches = 3});
  PipelineCosts costs{.stages = std::vector<StageCost>(5)};
  expect_error(ErrorKind::kInternal, {"5 costs", "2 stages"}, [&] { time_of(schedule, costs); });
  costs = {.stages = std::vector<StageCost>(2), .transfers = {1}};
  expect_error(ErrorKind::kInternal, {"1 transfers"}, [&] { time_of(schedule, costs); });
}

}  // namespace
}  // namespace longspan::testing
