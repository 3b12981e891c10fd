// The comparison of schemes: a line for each, with the figures of its plan, or its reason for having none.
#include <gtest/gtest.h>

#include <algorithm>

#include "parallel/context/plan_comparison.h"
#include "parallel/context/planner.h"

namespace longspan {
namespace {

std::string line_with(const std::string& table, std::string_view word) {
  const std::size_t at = table.find(word);
  if (at == std::string::npos) return "no line";
  const std::size_t begin = table.rfind('\n', at) + 1;  // npos + 1 is 0
  return table.substr(begin, table.find('\n', at) - begin);
}

TEST(ContextComparison, HasALineForEverySchemeButAuto) {
  const std::string text = compare_plans({{0, 4096}, 8, 2, true, 0}, 4, TableStyle::kText);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1 + static_cast<int>(context_planners().size()));
  for (const ContextPlanner* planner : context_planners())
    EXPECT_NE(line_with(text, fmt::format("\n  {} ", planner->name())), "no line") << planner->name();
  EXPECT_EQ(text.find("auto"), std::string::npos);
}

TEST(ContextComparison, FiguresAreThoseOfThePlan) {
  const ContextProblem problem{{0, 4096}, 8, 2, true, 0};
  const std::string table = compare_plans(problem, 4, TableStyle::kMarkdown);
  // A block's keys and values are 1024 tokens x 2 heads x 128 elements of two bytes. Rank 2 hands three blocks on.
  const std::string ring = line_with(table, "| `ring` |");
  EXPECT_NE(ring.find("| 0.75, 1.50 |"), std::string::npos) << ring;
  EXPECT_NE(ring.find("| 1.750, 1.750 |"), std::string::npos) << ring;
  const std::string striped = line_with(table, "| `striped` |");
  EXPECT_NE(striped.find("| 1.50, 1.50 |"), std::string::npos) << striped;
  // Backward the same again, and their gradients, at four bytes.
  EXPECT_NE(striped.find("| 4.50, 4.50 |"), std::string::npos) << striped;
  EXPECT_NE(striped.find("| 1.001, 1.001 |"), std::string::npos) << striped;
}

TEST(ContextComparison, SaysWhyASchemeRefuses) {
  const ContextProblem problem{{0, 4096}, 8, 2, true, 0};
  EXPECT_NE(line_with(compare_plans(problem, 5, TableStyle::kText), "two_d").find("refuses: 5 ranks are no product"),
            std::string::npos);
  const std::string markdown = compare_plans(problem, 5, TableStyle::kMarkdown);
  const std::string line = line_with(markdown, "two_d");
  EXPECT_NE(line.find("refuses: 5 ranks are no product"), std::string::npos);
  // As many cells as every other line.
  const std::string head = line_with(markdown, "scheme");
  EXPECT_EQ(std::count(line.begin(), line.end(), '|'), std::count(head.begin(), head.end(), '|'));
}

TEST(ContextComparison, EmptyBatchesAndOneRank) {
  for (const TableStyle style : {TableStyle::kText, TableStyle::kMarkdown})
    for (const int ranks : {1, 4}) {
      const std::string table = compare_plans({{0}, 2, 1, true, 0}, ranks, style);
      EXPECT_EQ(table.find("nan"), std::string::npos) << table;
      EXPECT_NE(table.find("0.00, 0.00"), std::string::npos) << table;
    }
}

TEST(ContextComparison, RefusesWhatMakesNoSense) {
  EXPECT_THROW(compare_plans({{0, 8}, 3, 2, true, 0}, 2, TableStyle::kText), Error);
}

}  // namespace
}  // namespace longspan
