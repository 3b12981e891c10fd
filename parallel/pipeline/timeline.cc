#include "parallel/pipeline/timeline.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "kernels/core/error.h"

namespace longspan {
namespace {

constexpr double kNotYet = std::numeric_limits<double>::infinity();

double cost_of(PipelineOpKind kind, const StageCost& cost) {
  switch (kind) {
    case PipelineOpKind::kForward: return cost.forward;
    case PipelineOpKind::kBackward: return cost.input_gradient + cost.weight_gradient;
    case PipelineOpKind::kInputGradient: return cost.input_gradient;
    case PipelineOpKind::kWeightGradient: return cost.weight_gradient;
  }
  return 0;
}

class Run {
 public:
  Run(const PipelineSchedule& schedule, const PipelineCosts& costs)
      : schedule_(schedule),
        costs_(costs),
        differs_(static_cast<int>(costs.stages.size()) != schedule.num_stages()),
        places_(places_of_stages(schedule)),
        forward_end_(cells(), kNotYet),
        gradient_end_(cells(), kNotYet) {
    timeline_.spans.resize(static_cast<std::size_t>(schedule.ranks));
  }

  Timeline run() {
    std::vector<std::size_t> next(static_cast<std::size_t>(schedule_.ranks));
    std::size_t left = 0;
    for (const auto& ops : schedule_.ops) left += ops.size();
    for (bool moved = true; moved && left > 0;) {
      moved = false;
      for (std::size_t r = 0; r < next.size(); ++r)
        while (next[r] < schedule_.ops[r].size() && advance(r, schedule_.ops[r][next[r]])) {
          ++next[r];
          --left;
          moved = true;
        }
    }
    timeline_.is_complete = left == 0;
    return std::move(timeline_);
  }

 private:
  std::size_t cells() const {
    return static_cast<std::size_t>(schedule_.num_stages()) * static_cast<std::size_t>(schedule_.micro_batches);
  }
  std::size_t cell(int stage, int micro_batch) const {
    return static_cast<std::size_t>(stage) * static_cast<std::size_t>(schedule_.micro_batches) +
           static_cast<std::size_t>(micro_batch);
  }
  const StageCost& cost(int stage, int micro_batch) const {
    return costs_.stages[differs_ ? cell(stage, micro_batch) : static_cast<std::size_t>(stage)];
  }
  // When what `other_stage`, this one's neighbour, has made is at hand on `rank`.
  double arrival(double end, int rank, int stage, int other_stage) const {
    if (places_[static_cast<std::size_t>(other_stage)].rank == rank) return end;
    if (costs_.transfers.empty()) return end + costs_.transfer;
    return end + costs_.transfers[static_cast<std::size_t>(std::min(stage, other_stage))];
  }

  double ready_at(int rank, const PipelineOp& op, int stage) const {
    const int m = op.micro_batch;
    if (op.kind == PipelineOpKind::kForward)
      return stage == 0 ? 0 : arrival(forward_end_[cell(stage - 1, m)], rank, stage, stage - 1);
    if (op.kind == PipelineOpKind::kWeightGradient) return gradient_end_[cell(stage, m)];
    const double own = forward_end_[cell(stage, m)];
    if (stage == schedule_.num_stages() - 1) return own;
    return std::max(own, arrival(gradient_end_[cell(stage + 1, m)], rank, stage, stage + 1));
  }

  // Whether the operation could run.
  bool advance(std::size_t rank, const PipelineOp& op) {
    const int stage = schedule_.stage_of[rank][static_cast<std::size_t>(op.chunk)];
    const double ready = ready_at(static_cast<int>(rank), op, stage);
    if (ready == kNotYet) return false;
    auto& spans = timeline_.spans[rank];
    const double begin = std::max(ready, spans.empty() ? 0 : spans.back().end);
    const double end = begin + cost_of(op.kind, cost(stage, op.micro_batch));
    spans.push_back({op, begin, end});
    timeline_.end = std::max(timeline_.end, end);
    if (op.kind == PipelineOpKind::kForward) forward_end_[cell(stage, op.micro_batch)] = end;
    if (op.kind == PipelineOpKind::kBackward || op.kind == PipelineOpKind::kInputGradient)
      gradient_end_[cell(stage, op.micro_batch)] = end;
    return true;
  }

  const PipelineSchedule& schedule_;
  const PipelineCosts& costs_;
  const bool differs_;  // from micro-batch to micro-batch
  const std::vector<StagePlace> places_;
  std::vector<double> forward_end_, gradient_end_;  // by stage and micro-batch
  Timeline timeline_;
};

}  // namespace

PipelineCosts unit_costs(const PipelineSchedule& schedule) {
  const double share = 1.0 / schedule.chunks;
  return {.stages = std::vector<StageCost>(static_cast<std::size_t>(schedule.num_stages()), {share, share, share})};
}

double Timeline::busy_of(int rank) const {
  double busy = 0;
  for (const Span& span : spans[static_cast<std::size_t>(rank)]) busy += span.end - span.begin;
  return busy;
}

double Timeline::bubble() const {
  if (end <= 0) return 0;
  double busy = 0;
  for (std::size_t rank = 0; rank < spans.size(); ++rank) busy += busy_of(static_cast<int>(rank));
  return 1 - busy / (end * static_cast<double>(spans.size()));
}

Timeline time_of(const PipelineSchedule& schedule, const PipelineCosts& costs) {
  const auto stages = static_cast<std::size_t>(schedule.num_stages());
  LS_CHECK(
      costs.stages.size() == stages || costs.stages.size() == stages * static_cast<std::size_t>(schedule.micro_batches),
      "{} costs for {} stages and {} micro-batches", costs.stages.size(), stages, schedule.micro_batches);
  LS_CHECK(costs.transfers.empty() || costs.transfers.size() == stages, "{} transfers for {} stages",
           costs.transfers.size(), stages);
  return Run(schedule, costs).run();
}

}  // namespace longspan
