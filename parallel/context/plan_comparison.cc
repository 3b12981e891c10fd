#include "parallel/context/plan_comparison.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <vector>

#include "parallel/context/buffers.h"
#include "parallel/context/plan_cost.h"
#include "parallel/context/planner.h"
#include "parallel/context/problem.h"

namespace longspan {
namespace {

constexpr std::array<std::string_view, 6> kHeads = {
    "scheme",      "forward sends (mean, most) MiB", "backward sends (mean, most) MiB", "balance (in all, by steps)",
    "buffers MiB", "predicted ms (not hidden)"};
using Cells = std::array<std::string, kHeads.size()>;

// A scheme's line, or its reason for having none.
struct Line {
  Cells cells;
  Refusal refusal;
};

double mib(double num_bytes) {
  return num_bytes / (1 << 20);
}

std::string ms_text(double seconds) {
  const double ms = 1e3 * seconds;
  return ms >= 100 ? fmt::format("{:.0f}", ms) : fmt::format("{:.3g}", ms);
}

std::string sends_text(const ContextPlan& plan, const PlanDirection& direction, const WireDesc& desc) {
  const std::vector<std::int64_t> sent = bytes_sent_by_ranks(plan, direction, desc);
  const auto total = static_cast<double>(std::accumulate(sent.begin(), sent.end(), std::int64_t{0}));
  return fmt::format("{:.2f}, {:.2f}", mib(total / static_cast<double>(sent.size())),
                     mib(static_cast<double>(*std::max_element(sent.begin(), sent.end()))));
}

std::int64_t peak_bytes(const ContextPlan& plan, const WireDesc& desc) {
  std::int64_t most = 0;
  for (const PlanDirection* direction : {&plan.forward, &plan.backward})
    for (const PeakBuffers& peak : peak_buffers(*direction, plan.ranks, desc))
      most = std::max(most, peak.operand_bytes + peak.result_bytes);
  return most;
}

Line line_of(const ContextPlanner& planner, const ContextProblem& problem, const ContextSite& site) {
  Line line{{std::string(planner.name())}, planner.why_unsupported(problem, site)};
  if (line.refusal) return line;
  const ContextPlan plan = make_context_plan(planner.name(), problem, site);
  const AttentionDesc desc = site.desc();
  const PlanCost forward = price(plan, plan.forward, site), backward = price(plan, plan.backward, site);
  line.cells[1] = sends_text(plan, plan.forward, desc);
  line.cells[2] = sends_text(plan, plan.backward, desc);
  line.cells[3] =
      fmt::format("{:.3f}, {:.3f}", balance_of_totals(plan, plan.forward), balance_of_steps(plan, plan.forward));
  line.cells[4] = fmt::format("{:.2f}", mib(static_cast<double>(peak_bytes(plan, desc))));
  line.cells[5] = fmt::format("{} ({})", ms_text(forward.seconds + backward.seconds),
                              ms_text(forward.exposed_seconds() + backward.exposed_seconds()));
  return line;
}

std::string as_text(const std::vector<Line>& lines) {
  std::array<std::size_t, kHeads.size()> widths{};
  for (std::size_t i = 0; i < kHeads.size(); ++i) {
    widths[i] = kHeads[i].size();
    for (const Line& line : lines) widths[i] = std::max(widths[i], line.cells[i].size());
  }
  std::string text = fmt::format("  {:<{}}", kHeads[0], widths[0]);
  for (std::size_t i = 1; i < kHeads.size(); ++i) text += fmt::format("  {:>{}}", kHeads[i], widths[i]);
  for (const Line& line : lines) {
    text += fmt::format("\n  {:<{}}", line.cells[0], widths[0]);
    if (line.refusal) {
      text += fmt::format("  refuses: {}", *line.refusal);
      continue;
    }
    for (std::size_t i = 1; i < kHeads.size(); ++i) text += fmt::format("  {:>{}}", line.cells[i], widths[i]);
  }
  return text + "\n";
}

std::string as_markdown(const std::vector<Line>& lines) {
  std::string text = "|";
  for (const std::string_view head : kHeads) text += fmt::format(" {} |", head);
  text += "\n|---|";
  for (std::size_t i = 1; i < kHeads.size(); ++i) text += "--:|";
  for (const Line& line : lines) {
    text += fmt::format("\n| `{}` |", line.cells[0]);
    for (std::size_t i = 1; i < kHeads.size(); ++i)
      text += fmt::format(" {} |", !line.refusal ? line.cells[i] : i == 1 ? "refuses: " + *line.refusal : "");
  }
  return text + "\n";
}

}  // namespace

std::string compare_plans(const ContextProblem& problem, const ContextSite& site, TableStyle style) {
  if (const std::optional<std::string> reason = why_invalid(problem, site.ranks))
    fail(ErrorKind::kUsage, "cannot compare plans: {}", *reason);
  std::vector<Line> lines;
  for (const ContextPlanner* planner : context_planners()) lines.push_back(line_of(*planner, problem, site));
  return style == TableStyle::kMarkdown ? as_markdown(lines) : as_text(lines);
}

}  // namespace longspan
