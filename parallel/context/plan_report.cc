#include "parallel/context/plan_report.h"

#include <algorithm>
#include <numeric>

#include "parallel/context/buffers.h"
#include "parallel/context/problem.h"

namespace longspan {
namespace {

constexpr int kMostRanksInFull = 16;

// A column: its head, its width, and a number for each rank with the text of one.
struct Column {
  std::string head;
  std::vector<double> values;
  std::string (*text)(double);
};

std::string integer_text(double value) {
  return fmt::format("{:.0f}", value);
}
std::string percent_text(double value) {
  return fmt::format("{:.2f} %", 100 * value);
}
std::string mib_text(double value) {
  return fmt::format("{:.2f} MiB", value / (1 << 20));
}

template <class T>
std::vector<double> as_doubles(const std::vector<T>& values) {
  return std::vector<double>(values.begin(), values.end());
}

std::vector<double> buffer_bytes(const ContextPlan& plan, const PlanDirection& direction, const WireDesc& desc) {
  std::vector<double> num_bytes;
  for (const PeakBuffers& peak : peak_buffers(direction, plan.ranks, desc))
    num_bytes.push_back(static_cast<double>(peak.operand_bytes + peak.result_bytes));
  return num_bytes;
}

std::vector<Column> columns_of(const ContextPlan& plan, const WireDesc& desc) {
  std::vector<double> tokens;
  for (int rank = 0; rank < plan.ranks; ++rank) tokens.push_back(static_cast<double>(plan.tokens_of(rank)));
  std::vector<double> share = as_doubles(work_of_ranks(plan, plan.forward));
  const double work = std::max(1.0, std::accumulate(share.begin(), share.end(), 0.0));
  for (double& value : share) value /= work;
  return {{"tokens", tokens, integer_text},
          {"work", share, percent_text},
          {"forward sends", as_doubles(bytes_sent_by_ranks(plan, plan.forward, desc)), mib_text},
          {"backward sends", as_doubles(bytes_sent_by_ranks(plan, plan.backward, desc)), mib_text},
          {"forward buffers", buffer_bytes(plan, plan.forward, desc), mib_text},
          {"backward buffers", buffer_bytes(plan, plan.backward, desc), mib_text}};
}

std::string line_of(const std::string& name, const std::vector<std::string>& cells) {
  std::string line = fmt::format("  {:<6}", name);
  for (const std::string& cell : cells) line += fmt::format("{:>18}", cell);
  return line + "\n";
}

// A line whose cells are made from each column's values.
template <class F>
std::string line_of(const std::string& name, const std::vector<Column>& columns, F value_of) {
  std::vector<std::string> cells;
  for (const Column& column : columns) cells.push_back(column.text(value_of(column.values)));
  return line_of(name, cells);
}

std::string table_of(const ContextPlan& plan, const WireDesc& desc) {
  const std::vector<Column> columns = columns_of(plan, desc);
  std::vector<std::string> heads;
  for (const Column& column : columns) heads.push_back(column.head);
  using Values = std::vector<double>;
  if (plan.ranks <= kMostRanksInFull) {
    std::string table = line_of("rank", heads);
    for (int rank = 0; rank < plan.ranks; ++rank)
      table += line_of(fmt::format("{}", rank), columns, [&](const Values& values) { return values[rank]; });
    return table;
  }
  return line_of("", heads) +
         line_of("least", columns, [](const Values& v) { return *std::min_element(v.begin(), v.end()); }) +
         line_of(
             "mean", columns,
             [](const Values& v) { return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size()); }) +
         line_of("most", columns, [](const Values& v) { return *std::max_element(v.begin(), v.end()); });
}

}  // namespace

std::string describe_plan(const ContextPlan& plan, const WireDesc& desc) {
  const ContextProblem& problem = plan.problem;
  std::string text = fmt::format(
      "context plan {:016x}: {} over {} ranks, {} tokens in {} documents, {}, {} query and {} key/value heads\n",
      hash_of(plan), plan.scheme, plan.ranks, problem.num_tokens(),
      std::max<std::size_t>(problem.cu_seqlens.size(), 1) - 1, mask_text(problem), problem.heads, problem.kv_heads);
  text += table_of(plan, desc);
  for (const auto& [name, direction] : {std::pair("forward", &plan.forward), std::pair("backward", &plan.backward)})
    text += fmt::format(
        "  {:<9}{} steps, {} tasks, {} transfers; busiest rank / mean: {:.3f} in all, {:.3f} step by step\n", name,
        direction->num_steps(), direction->tasks.size(), direction->transfers.size(),
        balance_of_totals(plan, *direction), balance_of_steps(plan, *direction));
  return text;
}

}  // namespace longspan
