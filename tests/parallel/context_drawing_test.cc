// Drawings of plans: whole as XML, with a cell for all that a plan does, the same every time, and never large.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "parallel/context/plan_cells.h"
#include "parallel/context/plan_drawing.h"
#include "parallel/drawing/svg_writer.h"
#include "tests/parallel/context_cases.h"
#include "tests/support/xml_fault.h"

namespace longspan::testing {
namespace {

using context_cases::describe;

AttentionDesc desc_of(const ContextProblem& problem) {
  return {.dtype = DType::kBF16, .heads = problem.heads, .kv_heads = problem.kv_heads, .head_dim = 64, .value_dim = 64};
}

// "3" or "4 … 7" at the front of text; the rest is left there.
std::pair<int, int> take_range(std::string_view& text) {
  const auto number = [&] {
    int value = 0;
    for (; !text.empty() && text[0] >= '0' && text[0] <= '9'; text.remove_prefix(1))
      value = 10 * value + (text[0] - '0');
    return value;
  };
  constexpr std::string_view kTo = " … ";
  const int first = number();
  if (!text.starts_with(kTo)) return {first, first};
  text.remove_prefix(kTo.size());
  return {first, number()};
}

// How many cells of a panel are there for each (rank, step), from their tips.
std::map<std::pair<int, int>, int> cells_of(std::string_view panel) {
  std::map<std::pair<int, int>, int> cells;
  constexpr std::string_view kTip = "<title>rank";
  for (std::size_t at = panel.find(kTip); at != std::string_view::npos; at = panel.find(kTip, at + 1)) {
    std::string_view tip = panel.substr(at + kTip.size());
    tip.remove_prefix(tip.find(' ') + 1);
    const auto [rank, last_rank] = take_range(tip);
    tip.remove_prefix(tip.find("step"));
    tip.remove_prefix(tip.find(' ') + 1);
    const auto [step, last_step] = take_range(tip);
    for (int r = rank; r <= last_rank; ++r)
      for (int s = step; s <= last_step; ++s) ++cells[{r, s}];
  }
  return cells;
}

void expect_cells_for_everything(const ContextPlan& plan, const std::string& drawing) {
  const std::size_t backward = drawing.find(">backward<");
  ASSERT_NE(backward, std::string::npos);
  const std::string_view whole = drawing;
  for (const auto& [direction, panel] :
       {std::pair(&plan.forward, whole.substr(0, backward)), std::pair(&plan.backward, whole.substr(backward))}) {
    const auto cells = cells_of(panel);
    EXPECT_EQ(cells.size(), static_cast<std::size_t>(plan.ranks * direction->num_steps()));
    for (const auto& [place, count] : cells) EXPECT_EQ(count, 1) << place.first << ", " << place.second;
    for (const PlanTask& task : direction->tasks) ASSERT_TRUE(cells.contains({task.rank, task.step}));
  }
}

void expect_sound(const ContextPlan& plan) {
  const AttentionDesc desc = desc_of(plan.problem);
  const std::string drawing = draw_plan(plan, desc);
  const auto fault = xml_fault(drawing);
  ASSERT_FALSE(fault) << *fault;
  for (const std::string_view word : {"nan", "NaN", "inf", "\"-", "script", "href"})
    EXPECT_EQ(drawing.find(word), std::string::npos) << word;
  EXPECT_EQ(drawing, draw_plan(plan, desc));
  EXPECT_LT(drawing.size(), 512u << 10);
  // Beyond 16 ranks, cells are shades without arrows.
  EXPECT_TRUE(plan.ranks <= 16 || drawing.find("marker-end") == std::string::npos);
  expect_cells_for_everything(plan, drawing);
}

TEST(ContextDrawing, IsSoundForEverySchemeAndBatch) {
  for (const ContextPlanner* planner : context_planners())
    for (const ContextProblem& problem : context_cases::small_problems())
      for (const int ranks : {1, 2, 4, 6, 17}) {
        if (context_cases::refuses(*planner, problem, ranks)) continue;
        SCOPED_TRACE(describe(planner->name(), problem, ranks));
        expect_sound(planner->plan(problem, ranks));
        if (::testing::Test::HasFailure()) return;
      }
}

TEST(ContextDrawing, IsSoundForLongBatches) {
  for (const ContextPlanner* planner : context_planners())
    for (const int ranks : {4, 8, 16, 33, 64})
      for (const ContextProblem& problem :
           {ContextProblem{{0, 65536}, 8, 2, true, 0}, ContextProblem{{0, 700, 701, 701, 3701}, 8, 8, true, 512}}) {
        if (context_cases::refuses(*planner, problem, ranks)) continue;
        SCOPED_TRACE(describe(planner->name(), problem, ranks));
        expect_sound(planner->plan(problem, ranks));
      }
}

TEST(ContextDrawing, StaysSmallForHundredsOfRanksAndThousandsOfDocuments) {
  for (const std::string_view scheme : {"ring", "striped"})
    expect_sound(context_planner(scheme).plan({{0, 1 << 20}, 8, 2, true, 0}, 512));
  std::vector<std::int64_t> documents{0};
  for (int i = 0; i < 5000; ++i) documents.push_back(documents.back() + i % 7);
  for (const std::string_view scheme : {"ring", "zigzag"})
    expect_sound(context_planner(scheme).plan({documents, 8, 2, true, 0}, 8));
}

TEST(ContextDrawing, LayoutsLookDifferent) {
  const ContextProblem problem{{0, 64}, 1, 1, false, 0};
  const AttentionDesc desc = desc_of(problem);
  std::set<std::string> drawings;
  for (const std::string_view scheme : {"ring", "striped", "zigzag"}) {
    ContextPlan plan = context_planner(scheme).plan(problem, 4);
    plan.forward = plan.backward = {};
    plan.scheme.clear();
    drawings.insert(draw_plan(plan, desc));
  }
  EXPECT_EQ(drawings.size(), 3u);
}

TEST(ContextDrawing, SaysWhatIsSentAndToWhom) {
  const ContextProblem problem{{0, 8192}, 8, 2, true, 0};
  const std::string drawing = draw_plan(context_planner("striped").plan(problem, 4), desc_of(problem));
  // 2048 tokens x 2 heads x (64 + 64) elements of 2 bytes.
  EXPECT_NE(drawing.find(">kv 1 MiB → 1</text>"), std::string::npos);
  EXPECT_NE(drawing.find("sends kv of rank 0 to rank 1: 1 MiB"), std::string::npos);
  EXPECT_NE(drawing.find("12 transfers of 12 MiB in all"), std::string::npos);
}

TEST(ContextDrawing, EscapesText) {
  ContextPlan plan = context_planner("ring").plan({{0, 8}, 1, 1, true, 0}, 2);
  plan.scheme = "a<b>&\"c\"\x01";
  const std::string drawing = draw_plan(plan, desc_of(plan.problem));
  EXPECT_FALSE(xml_fault(drawing));
  EXPECT_NE(drawing.find("a&lt;b&gt;&amp;&quot;c&quot; "), std::string::npos);
}

TEST(ContextDrawing, ReaderOfXmlFindsFaults) {
  EXPECT_FALSE(xml_fault("<a b=\"1\"><c/>x&lt;</a>\n"));
  for (const std::string_view wrong : {"", "<a>", "<a></b>", "<a b=1/>", "<a b=\"1\" b=\"2\"/>", "<a>&x</a>",
                                       "<a/><a/>", "<a/>x", "<a b=\"<\"/>", "<a"})
    EXPECT_TRUE(xml_fault(wrong)) << wrong;
}

TEST(ContextDrawing, NumbersForPeople) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(999), "999 B");
  EXPECT_EQ(bytes_text(1000), "0.98 KiB");
  EXPECT_EQ(bytes_text(1024), "1 KiB");
  EXPECT_EQ(bytes_text(2560), "2.5 KiB");
  EXPECT_EQ(bytes_text(std::int64_t{1} << 50), "1024 TiB");
  EXPECT_EQ(svg_number(-0.01), "0");
  EXPECT_EQ(svg_number(12.34), "12.3");
  EXPECT_EQ(svg_number(-7), "-7");
}

}  // namespace
}  // namespace longspan::testing
