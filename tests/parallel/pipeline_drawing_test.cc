// Drawings of timelines: whole as XML, a box for each operation where it stands in time, and never large.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <set>

#include "parallel/pipeline/timeline_drawing.h"
#include "tests/parallel/pipeline_shapes.h"
#include "tests/support/expect_error.h"
#include "tests/support/xml_fault.h"

namespace longspan::testing {
namespace {

std::string draw(const PipelineSchedule& schedule, const TimelineDrawing& how = {}) {
  return draw_timeline(schedule, time_of(schedule, unit_costs(schedule)), how);
}

// Boxes with a tip, as their tips say: what, of which micro-batch and chunk, from when.
std::multiset<std::string> tips_of(const std::string& drawing) {
  std::multiset<std::string> tips;
  const std::string_view begin = "\"><title>", end = "</title></rect>";
  for (std::size_t at = drawing.find(begin); at != std::string::npos; at = drawing.find(begin, at + 1)) {
    const std::size_t from = at + begin.size();
    tips.insert(drawing.substr(from, drawing.find(end, from) - from));
  }
  return tips;
}

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(PipelineDrawing, EverySmallScheduleIsWholeAndHasABoxAnOperation) {
  for_each_small_schedule([](const PipelineSchedule& schedule) {
    const std::string drawing = draw(schedule);
    EXPECT_FALSE(xml_fault(drawing)) << schedule.name << ": " << *xml_fault(drawing);
    std::size_t num_ops = 0;
    for (const auto& ops : schedule.ops) num_ops += ops.size();
    EXPECT_EQ(tips_of(drawing).size(), num_ops) << schedule.name;
    EXPECT_EQ(drawing, draw(schedule));
  });
}

TEST(PipelineDrawing, BoxesStandWhereTheirTimeIs) {
  // Two ranks, one micro-batch, in unit time: F 0-1 and 1-2, B 2-4 and 4-6.
  const std::string drawing = draw(make_pipeline_schedule("1f1b", {.ranks = 2, .micro_batches = 1}));
  const std::multiset<std::string> expected = {
      "forward of micro-batch 0: 1 from 0", "forward of micro-batch 0: 1 from 1", "backward of micro-batch 0: 2 from 2",
      "backward of micro-batch 0: 2 from 4"};
  EXPECT_EQ(tips_of(drawing), expected);
  std::map<std::string, std::pair<double, double>> places;  // x and width, by tip
  for (std::size_t at = drawing.find("<rect"); at != std::string::npos; at = drawing.find("<rect", at + 1)) {
    double x = 0, y = 0, width = 0;
    const std::size_t tip = drawing.find("><title>", at), end = drawing.find("/>", at);
    if (std::sscanf(drawing.c_str() + at, "<rect x=\"%lf\" y=\"%lf\" width=\"%lf\"", &x, &y, &width) == 3 && tip < end)
      places[drawing.substr(tip + 8, drawing.find("</title>", tip) - tip - 8)] = {x, width};
  }
  ASSERT_EQ(places.size(), 4u);
  const auto [first, unit] = places["forward of micro-batch 0: 1 from 0"];
  const double pixel = unit + 1;  // neighbours are a pixel apart
  EXPECT_NEAR(places["forward of micro-batch 0: 1 from 1"].first, first + pixel, 0.2);
  EXPECT_NEAR(places["backward of micro-batch 0: 2 from 2"].first, first + 2 * pixel, 0.2);
  EXPECT_NEAR(places["backward of micro-batch 0: 2 from 4"].second, 2 * pixel - 1, 0.2);
}

TEST(PipelineDrawing, SaysHowMuchIsIdleAndHeld) {
  const std::string drawing = draw(make_pipeline_schedule("1f1b", {.ranks = 4, .micro_batches = 8}));
  for (const char* words :
       {">1f1b: 4 ranks, 8 micro-batches<", ">33 times what a rank's forward takes, 27.3 % of it idle<", ">27.3 %<",
        ">rank 3<", ">backward<"})
    EXPECT_NE(drawing.find(words), std::string::npos) << words;
  EXPECT_EQ(count(drawing, "gradient of the input"), 0u);  // there is none
  const std::string halves = draw(make_pipeline_schedule("zbv", {.ranks = 2, .micro_batches = 2, .chunks = 2}));
  EXPECT_NE(halves.find(">gradient of the input<"), std::string::npos);
  EXPECT_NE(halves.find("chunk 0 … 1"), std::string::npos);
}

TEST(PipelineDrawing, ExtrasHaveTheirPlaceAndNamesAreEscaped) {
  const PipelineSchedule schedule = make_pipeline_schedule("1f1b", {.ranks = 2, .micro_batches = 2});
  const TimelineDrawing how{.title = "a < b & \"c\"",
                            .unit = TimelineUnit::kSeconds,
                            .extras = {{0, TimelineExtra::Place::kUnderRow, "gradients", 3, 10},
                                       {1, TimelineExtra::Place::kRow, "optimizer", 9, 12}},
                            .row_names = {"rank 0 & 4", "rank 1 & 5"}};
  const std::string drawing = draw(schedule, how);
  EXPECT_FALSE(xml_fault(drawing)) << *xml_fault(drawing);
  for (const char* words : {"a &lt; b &amp; &quot;c&quot;", "gradients: 7.00 s from 3.00 s",
                            "optimizer: 3.00 s from 9.00 s", ">rank 1 &amp; 5<", ">gradients<"})
    EXPECT_NE(drawing.find(words), std::string::npos) << words;
}

TEST(PipelineDrawing, ThousandsOfOperationsStaySmall) {
  const std::string drawing =
      draw(make_pipeline_schedule("interleaved", {.ranks = 64, .micro_batches = 256, .chunks = 4}));
  EXPECT_FALSE(xml_fault(drawing));
  EXPECT_LT(drawing.size(), 5u << 20);
  EXPECT_EQ(count(drawing, "<title>"), 1u);
}

TEST(PipelineDrawing, NothingToDrawIsStillAPicture) {
  const PipelineSchedule schedule = make_pipeline_schedule("1f1b", {.ranks = 2, .micro_batches = 1});
  const Timeline timeline = time_of(schedule, {.stages = std::vector<StageCost>(2, {0, 0, 0})});
  EXPECT_FALSE(xml_fault(draw_timeline(schedule, timeline, {})));
  expect_error(ErrorKind::kInternal, {"3", "2"},
               [&] { draw_timeline(schedule, Timeline{.spans = std::vector<std::vector<Timeline::Span>>(3)}, {}); });
}

}  // namespace
}  // namespace longspan::testing
