// Timeline: when each operation of a schedule would run, given what each takes.
#pragma once

#include <vector>

#include "parallel/pipeline/pipeline_schedule.h"

namespace longspan {

// Of one stage and micro-batch, in any one unit of time. A whole backward takes both halves.
struct StageCost {
  double forward = 1, input_gradient = 1, weight_gradient = 1;
};

struct PipelineCosts {
  // One a stage; or, where micro-batches differ, one a stage and micro-batch, all of a stage together.
  std::vector<StageCost> stages;
  // Of activations or gradients between two ranks; overlaps what either computes.
  double transfer = 0;
  std::vector<double> transfers{};  // one a stage: between it and the next, instead of `transfer`
  // Ranks that compute as fast as the costs say. Where more are at work, as ranks that share cores, they all slow down
  // alike. 0: each has what it needs.
  double at_once = 0;
};
// Every stage alike, all stages of a rank together one unit forward, one for each half of the backward.
PipelineCosts unit_costs(const PipelineSchedule& schedule);

struct Timeline {
  struct Span {
    PipelineOp op;
    double begin = 0, end = 0;
  };
  std::vector<std::vector<Span>> spans;  // [rank], in order; shorter than the schedule's where it got stuck
  double end = 0;                        // of the last operation of all
  bool is_complete = true;               // false: some rank waits for ever
  // Of the time from 0 to `end`, what the ranks do not compute, over all of it.
  double bubble() const;
  double busy_of(int rank) const;
};

// Each rank does its operations in order, each as soon as what it needs has come: a forward the activations of the
// stage above it, a backward or input gradient its own forward and the gradient of the stage below. The schedule names
// only ranks, stages and micro-batches that exist. Throws Error(kInternal) for costs of another number of stages.
Timeline time_of(const PipelineSchedule& schedule, const PipelineCosts& costs);

}  // namespace longspan
