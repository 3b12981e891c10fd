#include "parallel/context/context_plan.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "parallel/context/payload.h"

namespace longspan {
namespace {

double mean_work(const std::vector<std::int64_t>& work) {
  return static_cast<double>(std::accumulate(work.begin(), work.end(), std::int64_t{0})) /
         static_cast<double>(work.size());
}

}  // namespace

std::string_view name_of(TransferKind kind) {
  static constexpr std::array<std::string_view, 6> kNames = {"q", "kv", "out", "dout", "dq", "dkv"};
  return kNames[static_cast<std::size_t>(kind)];
}

int PlanDirection::num_steps() const {
  int last = -1;
  for (const PlanTask& task : tasks) last = std::max(last, task.step);
  for (const PlanTransfer& transfer : transfers) last = std::max(last, transfer.step);
  return last + 1;
}

std::int64_t ContextPlan::tokens_of(int rank) const {
  std::int64_t tokens = 0;
  for (const TokenRun& run : home[static_cast<std::size_t>(rank)]) tokens += run.count;
  return tokens;
}

std::int64_t work_of(const PlanTask& task) {
  return count_pairs(AttentionTask{0, task.q.count(), 0, task.kv.count(), task.head_begin, task.head_end, task.band});
}

std::vector<std::int64_t> work_of_ranks(const ContextPlan& plan, const PlanDirection& direction) {
  std::vector<std::int64_t> work(static_cast<std::size_t>(plan.ranks));
  for (const PlanTask& task : direction.tasks) work[task.rank] += work_of(task);
  return work;
}

double balance_of_totals(const ContextPlan& plan, const PlanDirection& direction) {
  const std::vector<std::int64_t> work = work_of_ranks(plan, direction);
  const double mean = mean_work(work);
  return mean == 0 ? 1 : static_cast<double>(*std::max_element(work.begin(), work.end())) / mean;
}

double balance_of_steps(const ContextPlan& plan, const PlanDirection& direction) {
  const double mean = mean_work(work_of_ranks(plan, direction));
  if (mean == 0) return 1;
  std::vector<const PlanTask*> tasks;
  tasks.reserve(direction.tasks.size());
  for (const PlanTask& task : direction.tasks) tasks.push_back(&task);
  std::stable_sort(tasks.begin(), tasks.end(), [](const PlanTask* a, const PlanTask* b) { return a->step < b->step; });
  double waited = 0;
  std::vector<std::int64_t> work(static_cast<std::size_t>(plan.ranks));
  for (std::size_t i = 0; i < tasks.size();) {
    std::fill(work.begin(), work.end(), 0);
    for (const int step = tasks[i]->step; i < tasks.size() && tasks[i]->step == step; ++i)
      work[tasks[i]->rank] += work_of(*tasks[i]);
    waited += static_cast<double>(*std::max_element(work.begin(), work.end()));
  }
  return waited / mean;
}

std::vector<std::int64_t> bytes_sent_by_ranks(const ContextPlan& plan, const PlanDirection& direction,
                                              const WireDesc& desc) {
  std::vector<std::int64_t> bytes(static_cast<std::size_t>(plan.ranks));
  for (const PlanTransfer& t : direction.transfers)
    bytes[t.from] += t.range.count() * (t.head_end - t.head_begin) * bytes_of_element(t.kind, desc);
  return bytes;
}

}  // namespace longspan
