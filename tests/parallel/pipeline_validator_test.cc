// Schedules broken on purpose are found out, by rank and operation.
#include <gmock/gmock.h>

#include <algorithm>

#include "parallel/pipeline/schedule_planner.h"
#include "parallel/pipeline/schedule_validator.h"
#include "tests/parallel/pipeline_shapes.h"

namespace longspan::testing {
namespace {

using ::testing::HasSubstr;
using Kind = PipelineOpKind;

PipelineSchedule two_ranks() {
  return make_pipeline_schedule("1f1b", {.ranks = 2, .micro_batches = 3});
}

std::string fault_of(const PipelineSchedule& schedule) {
  return find_fault(schedule).value_or("none");
}

TEST(PipelineValidator, RejectsEveryDroppedAndEveryDoubledOperation) {
  for_each_small_schedule([](const PipelineSchedule& whole) {
    for (std::size_t r = 0; r < whole.ops.size(); ++r)
      for (std::size_t i = 0; i < whole.ops[r].size(); ++i) {
        PipelineSchedule broken = whole;
        broken.ops[r].erase(broken.ops[r].begin() + static_cast<std::ptrdiff_t>(i));
        EXPECT_TRUE(find_fault(broken)) << whole.name << " without operation " << i << " of rank " << r;
        broken = whole;
        broken.ops[r].push_back(whole.ops[r][i]);
        EXPECT_TRUE(find_fault(broken)) << whole.name << " with operation " << i << " of rank " << r << " twice";
      }
  });
}

TEST(PipelineValidator, RejectsABackwardBeforeItsForward) {
  for_each_small_schedule([](const PipelineSchedule& whole) {
    for (std::size_t r = 0; r < whole.ops.size(); ++r) {
      PipelineSchedule broken = whole;
      const auto is_backward = [](const PipelineOp& op) {
        return op.kind == Kind::kBackward || op.kind == Kind::kInputGradient;
      };
      const auto backward = std::find_if(broken.ops[r].begin(), broken.ops[r].end(), is_backward);
      std::rotate(broken.ops[r].begin(), backward, backward + 1);
      EXPECT_THAT(fault_of(broken), HasSubstr("before its forward")) << whole.name;
    }
  });
}

TEST(PipelineValidator, RejectsAWeightGradientBeforeItsInputGradient) {
  PipelineSchedule schedule = make_pipeline_schedule("zero_bubble", {.ranks = 2, .micro_batches = 3});
  std::vector<PipelineOp>& ops = schedule.ops[0];
  const auto weight =
      std::find_if(ops.begin(), ops.end(), [](const PipelineOp& op) { return op.kind == Kind::kWeightGradient; });
  std::iter_swap(weight, weight - 1);
  EXPECT_THAT(fault_of(schedule), HasSubstr("rank 0: W0 comes before its input gradient"));
}

TEST(PipelineValidator, RejectsRanksThatWaitForEachOther) {
  PipelineSchedule schedule = make_pipeline_schedule("gpipe", {.ranks = 2, .micro_batches = 2});
  // Rank 1 begins with micro-batch 1, whose activations rank 0 sends only after it has had micro-batch 0's gradient.
  schedule.ops[0] = {{Kind::kForward, 0, 0}, {Kind::kBackward, 0, 0}, {Kind::kForward, 0, 1}, {Kind::kBackward, 0, 1}};
  schedule.ops[1] = {{Kind::kForward, 0, 1}, {Kind::kBackward, 0, 1}, {Kind::kForward, 0, 0}, {Kind::kBackward, 0, 0}};
  EXPECT_THAT(fault_of(schedule), HasSubstr("rank 0 at B0, rank 1 at F1"));
}

TEST(PipelineValidator, RejectsMoreActivationsThanMayBeHeld) {
  PipelineSchedule schedule = make_pipeline_schedule("gpipe", {.ranks = 2, .micro_batches = 3});
  schedule.live_limit[1] = 2;
  EXPECT_THAT(fault_of(schedule), HasSubstr("rank 1: F2 is one forward more than the 2"));
}

TEST(PipelineValidator, RejectsWhatIsNotThere) {
  PipelineSchedule schedule = two_ranks();
  schedule.ops[0][0].micro_batch = 3;
  EXPECT_THAT(fault_of(schedule), HasSubstr("rank 0: F3 is of no chunk (of 1) or micro-batch (of 3)"));
  schedule = two_ranks();
  schedule.ops[1][0].chunk = -1;
  EXPECT_THAT(fault_of(schedule), HasSubstr("rank 1"));
}

TEST(PipelineValidator, RejectsStagesOfTwoRanksOrNone) {
  PipelineSchedule schedule = two_ranks();
  schedule.stage_of[1][0] = 0;
  EXPECT_THAT(fault_of(schedule), HasSubstr("stage 0 is both rank 0's and rank 1's"));
  schedule.stage_of[1][0] = 2;
  EXPECT_THAT(fault_of(schedule), HasSubstr("rank 1 has stage 2 of 2"));
  schedule.stage_of[1].clear();
  EXPECT_THAT(fault_of(schedule), HasSubstr("rank 1 has 0 stages"));
}

TEST(PipelineValidator, RejectsListsOfTheWrongLength) {
  PipelineSchedule schedule = two_ranks();
  schedule.ops.pop_back();
  EXPECT_THAT(fault_of(schedule), HasSubstr("1 lists of operations"));
  schedule = two_ranks();
  schedule.micro_batches = 0;
  EXPECT_THAT(fault_of(schedule), HasSubstr("0 micro-batches"));
}

}  // namespace
}  // namespace longspan::testing
