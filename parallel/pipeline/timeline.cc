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

// What operations wait for, of what has been done so far.
class Progress {
 public:
  Progress(const PipelineSchedule& schedule, const PipelineCosts& costs)
      : schedule_(schedule),
        costs_(costs),
        differs_(static_cast<int>(costs.stages.size()) != schedule.num_stages()),
        places_(places_of_stages(schedule)),
        forward_end_(cells(), kNotYet),
        gradient_end_(cells(), kNotYet) {}

  int stage_of(std::size_t rank, const PipelineOp& op) const {
    return schedule_.stage_of[rank][static_cast<std::size_t>(op.chunk)];
  }
  double cost_of_op(std::size_t rank, const PipelineOp& op) const {
    const int stage = stage_of(rank, op);
    return cost_of(op.kind, costs_.stages[differs_ ? cell(stage, op.micro_batch) : static_cast<std::size_t>(stage)]);
  }
  // When what it needs is at hand on its rank; kNotYet where that is not known yet.
  double ready_at(std::size_t rank, const PipelineOp& op) const {
    const int m = op.micro_batch, stage = stage_of(rank, op);
    if (op.kind == PipelineOpKind::kForward)
      return stage == 0 ? 0 : arrival(forward_end_[cell(stage - 1, m)], rank, stage, stage - 1);
    if (op.kind == PipelineOpKind::kWeightGradient) return gradient_end_[cell(stage, m)];
    const double own = forward_end_[cell(stage, m)];
    if (stage == schedule_.num_stages() - 1) return own;
    return std::max(own, arrival(gradient_end_[cell(stage + 1, m)], rank, stage, stage + 1));
  }
  void finish(std::size_t rank, const PipelineOp& op, double end) {
    const std::size_t at = cell(stage_of(rank, op), op.micro_batch);
    if (op.kind == PipelineOpKind::kForward) forward_end_[at] = end;
    if (op.kind == PipelineOpKind::kBackward || op.kind == PipelineOpKind::kInputGradient) gradient_end_[at] = end;
  }

 private:
  std::size_t cells() const {
    return static_cast<std::size_t>(schedule_.num_stages()) * static_cast<std::size_t>(schedule_.micro_batches);
  }
  std::size_t cell(int stage, int micro_batch) const {
    return static_cast<std::size_t>(stage) * static_cast<std::size_t>(schedule_.micro_batches) +
           static_cast<std::size_t>(micro_batch);
  }
  // When what `other_stage`, this one's neighbour, has made is at hand on `rank`.
  double arrival(double end, std::size_t rank, int stage, int other_stage) const {
    if (places_[static_cast<std::size_t>(other_stage)].rank == static_cast<int>(rank)) return end;
    if (costs_.transfers.empty()) return end + costs_.transfer;
    return end + costs_.transfers[static_cast<std::size_t>(std::min(stage, other_stage))];
  }

  const PipelineSchedule& schedule_;
  const PipelineCosts& costs_;
  const bool differs_;  // from micro-batch to micro-batch
  const std::vector<StagePlace> places_;
  std::vector<double> forward_end_, gradient_end_;  // by stage and micro-batch
};

// Where each rank is in its list, and what came of it.
class Walk {
 public:
  explicit Walk(const PipelineSchedule& schedule)
      : schedule_(schedule), next_(static_cast<std::size_t>(schedule.ranks)) {
    timeline_.spans.resize(next_.size());
    for (const auto& ops : schedule.ops) left_ += ops.size();
  }
  std::size_t ranks() const { return next_.size(); }
  bool is_done() const { return left_ == 0; }
  // Null: this rank has none left.
  const PipelineOp* next(std::size_t rank) const {
    return next_[rank] < schedule_.ops[rank].size() ? &schedule_.ops[rank][next_[rank]] : nullptr;
  }
  double free_at(std::size_t rank) const {
    return timeline_.spans[rank].empty() ? 0 : timeline_.spans[rank].back().end;
  }
  void take(std::size_t rank, double begin, double end) {
    timeline_.spans[rank].push_back({*next(rank), begin, end});
    timeline_.end = std::max(timeline_.end, end);
    ++next_[rank];
    --left_;
  }
  Timeline finish() {
    timeline_.is_complete = left_ == 0;
    return std::move(timeline_);
  }

 private:
  const PipelineSchedule& schedule_;
  std::vector<std::size_t> next_;
  std::size_t left_ = 0;
  Timeline timeline_;
};

// Each rank as far as it gets, again and again.
Timeline run_apart(const PipelineSchedule& schedule, const PipelineCosts& costs) {
  Progress progress(schedule, costs);
  Walk walk(schedule);
  for (bool moved = true; moved && !walk.is_done();) {
    moved = false;
    for (std::size_t rank = 0; rank < walk.ranks(); ++rank)
      while (const PipelineOp* op = walk.next(rank)) {
        const double ready = progress.ready_at(rank, *op);
        if (ready == kNotYet) break;
        const double begin = std::max(ready, walk.free_at(rank)), end = begin + progress.cost_of_op(rank, *op);
        progress.finish(rank, *op, end);
        walk.take(rank, begin, end);
        moved = true;
      }
  }
  return walk.finish();
}

// From one moment at which an operation begins or ends to the next.
Timeline run_sharing(const PipelineSchedule& schedule, const PipelineCosts& costs) {
  struct Work {
    bool runs = false;
    double begin = 0, left = 0;
  };
  Progress progress(schedule, costs);
  Walk walk(schedule);
  std::vector<Work> works(walk.ranks());
  for (double now = 0; !walk.is_done();) {
    double at_work = 0, next_begin = kNotYet, least_left = kNotYet;
    for (std::size_t rank = 0; rank < works.size(); ++rank) {
      const PipelineOp* op = walk.next(rank);
      Work& work = works[rank];
      if (op != nullptr && !work.runs) {
        const double ready = progress.ready_at(rank, *op);
        if (ready <= now)
          work = {true, now, progress.cost_of_op(rank, *op)};
        else
          next_begin = std::min(next_begin, ready);
      }
      if (!work.runs) continue;
      ++at_work;
      least_left = std::min(least_left, work.left);
    }
    const double rate = std::min(1.0, costs.at_once / std::max(1.0, at_work));
    const double first_end = least_left == kNotYet ? kNotYet : now + least_left / rate;
    const double then = std::min(next_begin, first_end);
    if (then == kNotYet) break;  // all wait for each other
    for (std::size_t rank = 0; rank < works.size(); ++rank) {
      Work& work = works[rank];
      if (!work.runs) continue;
      const bool ends = first_end <= next_begin && work.left == least_left;
      work.left -= (then - now) * rate;
      if (!ends) continue;
      progress.finish(rank, *walk.next(rank), then);
      walk.take(rank, work.begin, then);
      work.runs = false;
    }
    now = then;
  }
  return walk.finish();
}

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
  const bool shares = costs.at_once > 0 && costs.at_once < schedule.ranks;
  return shares ? run_sharing(schedule, costs) : run_apart(schedule, costs);
}

}  // namespace longspan
