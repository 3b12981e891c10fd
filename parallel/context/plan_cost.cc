#include "parallel/context/plan_cost.h"

#include <algorithm>
#include <vector>

#include "parallel/context/payload.h"
#include "parallel/context/proof.h"

namespace longspan {
namespace {

class Timeline {
 public:
  Timeline(const ContextPlan& plan, const PlanDirection& direction, const ContextSite& site)
      : plan_(plan), direction_(direction), site_(site), num_steps_(direction.num_steps()) {
    const auto cells = static_cast<std::size_t>(plan.ranks) * static_cast<std::size_t>(num_steps_ + 1);
    compute_.resize(cells);
    for (auto& traffic : out_) traffic.resize(cells);
    for (auto& traffic : in_) traffic.resize(cells);
    peers_.resize(static_cast<std::size_t>(num_steps_) + 1);
  }

  PlanCost run() {
    add_tasks();
    add_transfers();
    std::vector<double> now(static_cast<std::size_t>(plan_.ranks)), results_at(now);
    for (int step = 0; step <= num_steps_; ++step) {
      std::vector<double> done(now), operands_at(now);
      for (int rank = 0; rank < plan_.ranks; ++rank) {
        done[index(rank)] = now[index(rank)] + compute_[cell(rank, step)];
        operands_at[index(rank)] = now[index(rank)] + busy(kOperands, rank, step);
      }
      // A message needs both ends: it is there when the slower of them has moved all of its step.
      for (const auto& [from, to, results] : peers_[static_cast<std::size_t>(step)])
        if (!results)
          operands_at[index(to)] = std::max(operands_at[index(to)], now[index(from)] + busy(kOperands, from, step));
      for (int rank = 0; rank < plan_.ranks; ++rank)
        done[index(rank)] = std::max(done[index(rank)], results_at[index(rank)]);
      // Results are posted once the tasks are done and earlier results are in.
      for (int rank = 0; rank < plan_.ranks; ++rank)
        results_at[index(rank)] = done[index(rank)] + busy(kResults, rank, step);
      for (const auto& [from, to, results] : peers_[static_cast<std::size_t>(step)])
        if (results)
          results_at[index(to)] = std::max(results_at[index(to)], done[index(from)] + busy(kResults, from, step));
      for (int rank = 0; rank < plan_.ranks; ++rank)
        now[index(rank)] = std::max(done[index(rank)], operands_at[index(rank)]);
    }
    PlanCost cost;
    for (int rank = 0; rank < plan_.ranks; ++rank) {
      cost.seconds = std::max(cost.seconds, now[index(rank)]);
      double computed = 0;
      for (int step = 0; step <= num_steps_; ++step) computed += compute_[cell(rank, step)];
      cost.compute_seconds = std::max(cost.compute_seconds, computed);
    }
    return cost;
  }

 private:
  enum Class : std::uint8_t { kOperands, kResults };
  struct Peer {
    int from, to;
    bool results;
  };

  static std::size_t index(int rank) { return static_cast<std::size_t>(rank); }
  std::size_t cell(int rank, int step) const {
    return static_cast<std::size_t>(step) * static_cast<std::size_t>(plan_.ranks) + index(rank);
  }
  double busy(Class what, int rank, int step) const {
    return std::max(out_[what][cell(rank, step)], in_[what][cell(rank, step)]);
  }

  void add_tasks() {
    const bool backward = &direction_ == &plan_.backward;
    const std::int64_t sizes = backward ? 3 * site_.head_dim + 2 * site_.value_dim : site_.head_dim + site_.value_dim;
    const double seconds_per_pair = 2.0 * static_cast<double>(sizes) / site_.costs.flops_per_second;
    for (const PlanTask& task : direction_.tasks) {
      const std::int64_t pairs =
          count_pairs(AttentionTask{0, task.q.count(), 0, task.kv.count(), task.head_begin, task.head_end, task.band});
      compute_[cell(task.rank, task.step)] +=
          static_cast<double>(pairs) * seconds_per_pair + site_.costs.seconds_per_task;
    }
  }

  void add_transfers() {
    const AttentionDesc desc = site_.desc();
    const int node = site_.node_size();
    for (const PlanTransfer& t : direction_.transfers) {
      const Class what = is_operand(t.kind) ? kOperands : kResults;
      const auto num_bytes =
          static_cast<double>(t.range.count() * (t.head_end - t.head_begin) * bytes_of_element(t.kind, desc));
      const double rate =
          t.from / node == t.to / node ? site_.costs.node_bytes_per_second : site_.costs.network_bytes_per_second;
      const double seconds = site_.costs.seconds_per_message + num_bytes / rate;
      out_[what][cell(t.from, t.step)] += seconds;
      in_[what][cell(t.to, t.step)] += seconds;
      peers_[static_cast<std::size_t>(t.step)].push_back({t.from, t.to, what == kResults});
    }
  }

  const ContextPlan& plan_;
  const PlanDirection& direction_;
  const ContextSite& site_;
  const int num_steps_;
  std::vector<double> compute_;           // by step and rank
  std::vector<double> out_[2], in_[2];    // seconds its links are busy, by class; by step and rank
  std::vector<std::vector<Peer>> peers_;  // by step
};

}  // namespace

PlanCost price(const ContextPlan& plan, const PlanDirection& direction, const ContextSite& site) {
  return Timeline(plan, direction, site).run();
}

}  // namespace longspan
