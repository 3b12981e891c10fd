// Learner: one rank's part of the model, its optimizer and memory, and what it does in a training step and in
// validation.
#pragma once

#include <cstdint>
#include <memory>

#include "models/model.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/pipeline_executor.h"
#include "trainer/launch/rank_device.h"
#include "trainer/loop/metrics.h"
#include "trainer/loop/model_work.h"
#include "trainer/loop/optimizer.h"
#include "trainer/loop/pass_arenas.h"
#include "trainer/loop/run_plan.h"
#include "trainer/loop/step_plan.h"
#include "trainer/loop/weight_sync.h"

namespace longspan {

struct StepOutcome {
  double loss = 0;              // mean over the labels of all ranks; the same bits on every rank
  double grad_norm = 0;         // before clipping; likewise
  std::int64_t num_tokens = 0;  // of all sequences of the step
  ExposedSeconds exposed;       // of this rank
};

// All calls are collective over the mesh's world.
class Learner {
 public:
  // Weights are initialised from run.seed. Keeps references. The plan, made for the same device, sizes the arenas: on a
  // GPU to the byte, and a step whose batch needs more than it foresaw makes them grow.
  Learner(const Config& config, const RunPlan& plan, Mesh& mesh, const RankDevice& device);

  // Forward, backward, reduction of gradients, clipping, update. Throws Error(kUsage) on every rank, and leaves the
  // weights alone, where loss or gradient is not finite; Error(kData) where no token carries a label.
  StepOutcome train(StepPlan& plan, std::int64_t step, double lr);
  // Mean loss over the first `count` sequences, one at a time, spread over the data ranks.
  double validate(const Loader& loader, const PlanPlace& place, std::int64_t count);

  // After weights were read from a checkpoint.
  void refresh_weights();
  // Waits for what is still on its way after the last step.
  void finish();

  Model& model() { return model_; }
  Optimizer& optimizer() { return optimizer_; }
  const Exec& exec() const { return exec_; }
  std::int64_t peak_bytes() const;  // of the memory that this rank computes in

 private:
  void require_same_plans(const StepPlan& plan, std::int64_t step);
  std::vector<ReadyMicroBatch> ready(StepPlan& plan);
  // Adds the losses of these sequences to totals.
  void evaluate(const Loader& loader, const PlanPlace& place, const std::vector<std::int64_t>& indices,
                const Tensor& totals);
  // Adds the squares of the gradients that this rank answers for: each of the model's once over all ranks.
  void add_squares(const Tensor& figure);

  const Config& config_;
  const ParallelLayout& layout_;
  Mesh& mesh_;
  Arena weights_, state_;
  PassArenas passes_;
  std::int64_t operator_workspace_;  // of the passes' workspace, beside the attention's
  Exec exec_;
  PipelineLinks links_;
  WaitClock pipeline_clock_;
  Tensor figures_;  // [3] fp64 where the model runs: sum of losses, tokens with a label, squares of the gradient
  Model model_;
  WeightSync sync_;
  RegisteredArenas reduced_;  // what gradients and weights go from and to
  Optimizer optimizer_;
};

}  // namespace longspan
