// Bubbles of the schedules in unit time, against the formulas they are published with.
#include <gtest/gtest.h>

#include "parallel/pipeline/schedule_planner.h"
#include "parallel/pipeline/timeline.h"
#include "tests/parallel/pipeline_shapes.h"

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

}  // namespace
}  // namespace longspan::testing
