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

// One core for two ranks: while both compute, each takes twice as long. F0 of rank 0 0-1; then its F1 and the other's
// F0 share, 1-3; then F1's neighbour and B0 of rank 1 …: the core is never idle until the last backward.
TEST(PipelineTimeline, RanksThatShareACoreByHand) {
  const PipelineSchedule schedule = make_pipeline_schedule("1f1b", {.ranks = 2, .micro_batches = 2});
  PipelineCosts costs = unit_costs(schedule);
  costs.at_once = 1;
  const Timeline timeline = time_of(schedule, costs);
  ASSERT_TRUE(timeline.is_complete);
  EXPECT_DOUBLE_EQ(timeline.end, 12);  // all the work there is: 2 x 2 x (1 + 2)
  const auto& first = timeline.spans[0];
  const auto& second = timeline.spans[1];
  EXPECT_DOUBLE_EQ(first[0].end, 1);  // F0 alone
  EXPECT_DOUBLE_EQ(first[1].end, 3);  // F1 beside the other's F0
  EXPECT_DOUBLE_EQ(second[0].end, 3);
  EXPECT_DOUBLE_EQ(second[1].end, 5);  // B0 alone
  EXPECT_DOUBLE_EQ(second[2].end, 7);  // F1 beside B0 of rank 0, of which 1 is left
  EXPECT_DOUBLE_EQ(first[2].end, 9);   // … beside B1
  EXPECT_DOUBLE_EQ(second[3].end, 10);
  EXPECT_DOUBLE_EQ(first[3].end, 12);
}

TEST(PipelineTimeline, EnoughCoresAreAsOneEach) {
  for_each_small_schedule([](const PipelineSchedule& schedule) {
    PipelineCosts costs = unit_costs(schedule);
    costs.transfer = 0.3;
    const Timeline apart = time_of(schedule, costs);
    costs.at_once = schedule.ranks - 1e-9;  // the other way to walk
    const Timeline sharing = time_of(schedule, costs);
    EXPECT_NEAR(sharing.end, apart.end, 1e-6 * apart.end) << schedule.name;
    for (std::size_t rank = 0; rank < apart.spans.size(); ++rank)
      for (std::size_t i = 0; i < apart.spans[rank].size(); ++i)
        EXPECT_NEAR(sharing.spans[rank][i].end, apart.spans[rank][i].end, 1e-6 * apart.end) << schedule.name;
    costs.at_once = 1;  // and one core takes all the work, or longer where all wait for transfers
    EXPECT_GE(time_of(schedule, costs).end * (1 + 1e-9), 3.0 * schedule.ranks * schedule.micro_batches);
  });
}

TEST(PipelineTimeline, SharingCoresDoesNotHideAStandstill) {
  PipelineSchedule schedule = make_pipeline_schedule("1f1b", {.ranks = 2, .micro_batches = 2});
  std::swap(schedule.ops[1][0], schedule.ops[1][2]);  // rank 1 wants micro-batch 1 first, and B0 before F0
  PipelineCosts costs = unit_costs(schedule);
  costs.at_once = 1;
  EXPECT_FALSE(time_of(schedule, costs).is_complete);
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
