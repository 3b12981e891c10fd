// Every planner's schedules, of every size: proved right, and holding what the literature says they hold.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/core/error.h"
#include "parallel/pipeline/schedule_planner.h"
#include "tests/parallel/pipeline_shapes.h"
#include "tests/support/expect_error.h"

namespace longspan::testing {
namespace {

TEST(PipelineSchedule, IsProvedRightForEverySize) {
  int proved = 0;
  for (const PipelinePlanner* planner : pipeline_planners())
    for_each_shape(16, 64, 4, [&](const PipelineShape& shape) {
      if (planner->why_unsupported(shape)) return;
      const PipelineSchedule schedule = make_pipeline_schedule(planner->name(), shape);
      EXPECT_EQ(schedule.name, planner->name());
      EXPECT_EQ(schedule, planner->plan(shape)) << "differs when planned again";
      ++proved;
    });
  EXPECT_GT(proved, 4 * 16 * 64);
}

TEST(PipelineSchedule, HoldsAsManyMicroBatchesAsTheLiteratureSays) {
  for_each_shape(16, 64, 1, [](const PipelineShape& shape) {
    const PipelineSchedule gpipe = make_pipeline_schedule("gpipe", shape);
    const PipelineSchedule one_f_one_b = make_pipeline_schedule("1f1b", shape);
    const PipelineSchedule zero_bubble = make_pipeline_schedule("zero_bubble", shape);
    for (int r = 0; r < shape.ranks; ++r) {
      EXPECT_EQ(peak_live(gpipe, r), shape.micro_batches);
      EXPECT_EQ(peak_live(one_f_one_b, r), std::min(shape.ranks - r, shape.micro_batches));
      EXPECT_LE(peak_live(zero_bubble, r), peak_live(one_f_one_b, 0));
    }
  });
}

TEST(PipelineSchedule, FoldedChunksHoldNoMoreThan1F1BsFirstRank) {
  for_each_shape(16, 64, 1, [](PipelineShape shape) {
    const int most = peak_live(make_pipeline_schedule("1f1b", shape), 0);
    shape.chunks = 2;
    const PipelineSchedule zbv = make_pipeline_schedule("zbv", shape);
    for (int r = 0; r < shape.ranks; ++r) EXPECT_LE(peak_live(zbv, r), 2 * most);  // in chunks of half the size
  });
}

TEST(PipelineSchedule, OneRankNeedsNoOrderButItsOwn) {
  const PipelineSchedule schedule = make_pipeline_schedule("1f1b", {.ranks = 1, .micro_batches = 2});
  const std::vector<PipelineOp> expected = {{PipelineOpKind::kForward, 0, 0},
                                            {PipelineOpKind::kBackward, 0, 0},
                                            {PipelineOpKind::kForward, 0, 1},
                                            {PipelineOpKind::kBackward, 0, 1}};
  EXPECT_EQ(schedule.ops.front(), expected);
}

TEST(PipelineSchedule, InterleavedOverOneChunkIs1F1B) {
  PipelineSchedule interleaved = make_pipeline_schedule("interleaved", {.ranks = 4, .micro_batches = 8});
  interleaved.name = "1f1b";
  EXPECT_EQ(interleaved, make_pipeline_schedule("1f1b", {.ranks = 4, .micro_batches = 8}));
}

TEST(PipelineSchedule, RefusesInWordsWhatItCannotDo) {
  expect_error(ErrorKind::kUsage, {"'2f2b'", "1f1b, gpipe, interleaved, zero_bubble, zbv"},
               [] { make_pipeline_schedule("2f2b", {}); });
  expect_error(ErrorKind::kUsage, {"0 micro-batches"}, [] { make_pipeline_schedule("1f1b", {.micro_batches = 0}); });
  expect_error(ErrorKind::kUnsupported, {"interleaved", "groups of 4", "not 6", "use 8"},
               [] { make_pipeline_schedule("interleaved", {.ranks = 4, .micro_batches = 6, .chunks = 2}); });
  for (const char* planner : {"gpipe", "1f1b", "zero_bubble"})
    expect_error(ErrorKind::kUnsupported, {planner, "one chunk a rank"},
                 [&] { make_pipeline_schedule(planner, {.ranks = 2, .micro_batches = 2, .chunks = 2}); });
  expect_error(ErrorKind::kUnsupported, {"zbv", "parallel.chunks to 2"},
               [] { make_pipeline_schedule("zbv", {.ranks = 2, .micro_batches = 2, .chunks = 3}); });
}

}  // namespace
}  // namespace longspan::testing
