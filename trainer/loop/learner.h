// Learner: one rank's model, optimizer and memory, and what it does in a training step and in validation.
#pragma once

#include <cstdint>

#include "models/model.h"
#include "parallel/mesh.h"
#include "trainer/loop/attention_set.h"
#include "trainer/loop/memory_budget.h"
#include "trainer/loop/optimizer.h"
#include "trainer/loop/step_plan.h"

namespace longspan {

struct StepOutcome {
  double loss = 0;              // mean over the labels of all ranks; the same bits on every rank
  double grad_norm = 0;         // before clipping; likewise
  std::int64_t num_tokens = 0;  // of all sequences of the step
  double exposed_context_seconds = 0, exposed_data_seconds = 0;
};

// All calls are collective over the mesh's world.
class Learner {
 public:
  // Weights are initialised from run.seed. Keeps references. The budget sizes the arenas.
  Learner(const Config& config, Mesh& mesh, int num_threads, const MemoryBudget& budget);

  // Forward, backward, reduction of gradients, clipping, update. Throws Error(kUsage) on every rank, and leaves the
  // weights alone, where loss or gradient is not finite; Error(kData) where no token carries a label.
  StepOutcome train(StepPlan& plan, std::int64_t step, double lr);
  // Mean loss over the first `count` sequences, one at a time, spread over the data ranks.
  double validate(const Loader& loader, const PlanPlace& place, std::int64_t count);

  // After weights were read from a checkpoint.
  void refresh_compute() { model_.refresh_compute(exec_); }

  Model& model() { return model_; }
  Optimizer& optimizer() { return optimizer_; }
  std::int64_t peak_bytes() const;

 private:
  void require_same_plans(const StepPlan& plan, std::int64_t step);
  void accumulate_gradients(StepPlan& plan, double total_labels, StepOutcome& outcome);
  AttentionSet attention_for(const PlannedMicroBatch& micro_batch);

  const Config& config_;
  Mesh& mesh_;
  Arena weights_, state_, activations_, workspace_;
  Exec exec_;
  Tensor figures_;  // [3] fp64 where the model runs: sum of losses, tokens with a label, squares of the gradient
  Model model_;
  Optimizer optimizer_;
};

}  // namespace longspan
