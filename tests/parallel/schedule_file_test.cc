#include "parallel/pipeline/schedule_file.h"

#include <gtest/gtest.h>

#include "kernels/core/error.h"
#include "tests/parallel/pipeline_shapes.h"
#include "tests/support/expect_error.h"

namespace longspan::testing {
namespace {

TEST(ScheduleFile, HoldsWhatPlannersMake) {
  for_each_small_schedule([](const PipelineSchedule& schedule) {
    const PipelineSchedule read = schedule_from_csv(to_csv(schedule), schedule.name);
    EXPECT_EQ(read.ops, schedule.ops) << schedule.name;
    EXPECT_EQ(read.stage_of, schedule.stage_of) << schedule.name;
    EXPECT_EQ(read.micro_batches, schedule.micro_batches);
  });
}

TEST(ScheduleFile, IsALineARank) {
  EXPECT_EQ(to_csv(make_pipeline_schedule("1f1b", {.ranks = 2, .micro_batches = 2})),
            "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n");
}

TEST(ScheduleFile, PassesOverBlanksAndComments) {
  const std::string text = "# by hand\n\n 0F0 , , 0I0,0W0  # the first stage\r\n\n1F0,1B0";
  const PipelineSchedule schedule = schedule_from_csv(text, "mine.csv");
  EXPECT_EQ(schedule.ranks, 2);
  EXPECT_EQ(to_csv(schedule), "0F0,0I0,0W0\n1F0,1B0\n");
}

TEST(ScheduleFile, SaysWhereItCannotBeRead) {
  for (const char* wrong : {"0X0", "F0", "0F", "0F0x", "-1F0", "0F-1", "0F99999999999", "1 F0"})
    expect_error(ErrorKind::kData, {"mine.csv:2: cell 2 is '", wrong},
                 [&] { schedule_from_csv(std::string("0F0,0B0\n1F0,") + wrong, "mine.csv"); });
  expect_error(ErrorKind::kData, {"mine.csv holds no operation"}, [] { schedule_from_csv("# nothing\n", "mine.csv"); });
}

TEST(ScheduleFile, SaysWhatIsWrongWithWhatItReads) {
  expect_error(ErrorKind::kData, {"mine.csv", "rank 1", "B0 is missing"},
               [] { schedule_from_csv("0F0,0B0\n1F0", "mine.csv"); });
  expect_error(ErrorKind::kData, {"mine.csv", "stage"}, [] { schedule_from_csv("0F0,0B0\n0F0,0B0", "mine.csv"); });
  expect_error(ErrorKind::kData, {"mine.csv", "stage 7 of 2"},
               [] { schedule_from_csv("0F0,0B0\n7F0,7B0", "mine.csv"); });
  expect_error(ErrorKind::kData, {"mine.csv", "wait for each other"},
               [] { schedule_from_csv("0F0,0B0,0F1,0B1\n1F1,1B1,1F0,1B0", "mine.csv"); });
}

}  // namespace
}  // namespace longspan::testing
