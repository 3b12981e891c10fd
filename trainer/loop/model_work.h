// ModelWork: the operations of a pipeline schedule as passes of a step's micro-batches through a rank's stages.
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "models/stage_pass.h"
#include "parallel/pipeline/pipeline_executor.h"
#include "trainer/loop/attention_set.h"
#include "trainer/loop/pass_arenas.h"
#include "trainer/loop/step_plan.h"

namespace longspan {

// A micro-batch with its attention.
struct ReadyMicroBatch {
  PlannedMicroBatch* planned = nullptr;
  AttentionSet attention;
};

// What all passes of a step share. Everything outlives the work.
struct PassSetting {
  const Exec& exec;
  Model& model;
  PassArenas& arenas;
  WeightWatch* watch = nullptr;
  Tensor totals;  // [2] fp64: HeadLoss::totals
};

// Training: forward and backward, gradients added to the model's.
class TrainingWork final : public StageWork {
 public:
  // `rank` is this rank's place in the schedule's pipeline.
  TrainingWork(const PassSetting& setting, const PipelineSchedule& schedule, int rank,
               std::vector<ReadyMicroBatch>& micro_batches, float grad_scale);

  Tensor in_buffer(const Tensor& buffer, int micro_batch) override;
  void forward(const PipelineOp& op, const Tensor& input, const Tensor& output) override;
  void backward(const PipelineOp& op, const Tensor& doutput, const Tensor& dinput) override;
  void weight_gradient(const PipelineOp& op) override;

 private:
  // From the forward to the end of the backward. Members go in reverse order, the arena's memory last.
  struct Live {
    Live(PassArenas& arenas, int chunk);
    ~Live();
    Live(const Live&) = delete;
    Live& operator=(const Live&) = delete;

    PassArenas& arenas;
    const PassArenas::Slot slot;
    Arena::Scope scope;
    std::optional<StagePass> pass;
  };
  BackwardKind kind_of(const PipelineOp& forward) const;
  using PassKey = std::pair<int, int>;  // chunk, micro-batch
  Live& live(const PipelineOp& op);

  const PassSetting setting_;
  const std::vector<PipelineOp>& ops_;
  std::vector<ReadyMicroBatch>& micro_batches_;
  const float grad_scale_;
  std::map<PassKey, Live> live_;
};

// Validation: forwards alone.
class EvaluationWork final : public StageWork {
 public:
  EvaluationWork(const PassSetting& setting, std::vector<ReadyMicroBatch>& micro_batches)
      : setting_(setting), micro_batches_(micro_batches) {}

  Tensor in_buffer(const Tensor& buffer, int micro_batch) override;
  void forward(const PipelineOp& op, const Tensor& input, const Tensor& output) override;
  void backward(const PipelineOp& op, const Tensor& doutput, const Tensor& dinput) override;
  void weight_gradient(const PipelineOp& op) override;

 private:
  const PassSetting setting_;
  std::vector<ReadyMicroBatch>& micro_batches_;
};

}  // namespace longspan
