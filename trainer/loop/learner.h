// Learner: one rank's model, optimizer and memory, and what it does in a training step and in validation.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "models/model.h"
#include "parallel/comm/registered_arenas.h"
#include "parallel/mesh.h"
#include "trainer/launch/rank_device.h"
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
  // Weights are initialised from run.seed. Keeps references. The budget, made for the same device, sizes the arenas: on
  // a GPU to the byte, and a step whose batch needs more than it foresaw makes them grow.
  Learner(const Config& config, Mesh& mesh, const RankDevice& device, int num_threads, const MemoryBudget& budget);

  // Forward, backward, reduction of gradients, clipping, update. Throws Error(kUsage) on every rank, and leaves the
  // weights alone, where loss or gradient is not finite; Error(kData) where no token carries a label.
  StepOutcome train(StepPlan& plan, std::int64_t step, double lr);
  // Mean loss over the first `count` sequences, one at a time, spread over the data ranks.
  double validate(const Loader& loader, const PlanPlace& place, std::int64_t count);

  // After weights were read from a checkpoint.
  void refresh_compute() { model_.refresh_compute(exec_); }

  Model& model() { return model_; }
  Optimizer& optimizer() { return optimizer_; }
  const Exec& exec() const { return exec_; }
  std::int64_t peak_bytes() const;  // of the memory that this rank computes in

 private:
  void require_same_plans(const StepPlan& plan, std::int64_t step);
  // The attention of each micro-batch, whose times can be read once the step is done.
  std::vector<AttentionSet> accumulate_gradients(StepPlan& plan, double total_labels);
  AttentionSet attention_for(const PlannedMicroBatch& micro_batch);
  // Room for what this micro-batch will take; costs time only where a batch needs more than all before it.
  void make_room(const PlannedMicroBatch& micro_batch, const AttentionSet& attention);

  const Config& config_;
  Mesh& mesh_;
  const RankDevice& device_;
  Arena weights_, state_;
  std::optional<Arena> activations_, workspace_;
  std::int64_t operator_workspace_;  // of workspace_, beside the attention's
  Exec exec_;
  // After the arenas, which they go before.
  RegisteredArenas context_arenas_;
  std::unique_ptr<RegisteredMemory> gradients_;
  std::unique_ptr<DeviceEvent> reduction_begin_, reduction_end_;
  Tensor figures_;  // [3] fp64 where the model runs: sum of losses, tokens with a label, squares of the gradient
  Model model_;
  Optimizer optimizer_;
};

}  // namespace longspan
