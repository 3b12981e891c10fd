#include "trainer/loop/model_work.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace longspan {
namespace {

ReadyMicroBatch& at(std::vector<ReadyMicroBatch>& micro_batches, int index) {
  return micro_batches[static_cast<std::size_t>(index)];
}

// Activations [c,E] at the front of a buffer.
Tensor activations_in(const Tensor& buffer, const Model& model, const ReadyMicroBatch& micro_batch) {
  Tensor activations(buffer.data, model.precision(), {micro_batch.planned->local.num_tokens(), model.config().hidden},
                     buffer.device);
  LS_CHECK(activations.num_bytes() <= buffer.num_bytes(), "{} in a buffer of {} bytes", activations.describe(),
           buffer.num_bytes());
  return activations;
}

}  // namespace

TrainingWork::Live::Live(PassArenas& pass_arenas, int chunk)
    : arenas(pass_arenas), slot(pass_arenas.take(chunk)), scope(pass_arenas.kept(slot)) {}

TrainingWork::Live::~Live() {
  pass.reset();
  arenas.give_back(slot);
}

TrainingWork::TrainingWork(const PassSetting& setting, const PipelineSchedule& schedule, int rank,
                           std::vector<ReadyMicroBatch>& micro_batches, float grad_scale)
    : setting_(setting),
      ops_(schedule.ops[static_cast<std::size_t>(rank)]),
      micro_batches_(micro_batches),
      grad_scale_(grad_scale) {
  LS_CHECK(static_cast<int>(micro_batches.size()) == schedule.micro_batches, "{} micro-batches for a schedule of {}",
           micro_batches.size(), schedule.micro_batches);
}

Tensor TrainingWork::in_buffer(const Tensor& buffer, int micro_batch) {
  return activations_in(buffer, setting_.model, at(micro_batches_, micro_batch));
}

BackwardKind TrainingWork::kind_of(const PipelineOp& forward) const {
  const PipelineOp half{PipelineOpKind::kInputGradient, forward.chunk, forward.micro_batch};
  return std::find(ops_.begin(), ops_.end(), half) == ops_.end() ? BackwardKind::kWhole : BackwardKind::kHalves;
}

TrainingWork::Live& TrainingWork::live(const PipelineOp& op) {
  return live_.at({op.chunk, op.micro_batch});
}

void TrainingWork::forward(const PipelineOp& op, const Tensor& input, const Tensor& output) {
  const PassKey key{op.chunk, op.micro_batch};
  Live& live = live_.try_emplace(key, setting_.arenas, op.chunk).first->second;
  ReadyMicroBatch& micro_batch = at(micro_batches_, op.micro_batch);
  Arena& kept = setting_.arenas.kept(live.slot);
  const bool offloads = setting_.model.config().offload != Offload::kNone;
  const StageCall call{.exec = setting_.exec,
                       .batch = upload(setting_.exec, micro_batch.planned->local, kept),
                       .attention = micro_batch.attention.by_pattern(),
                       .watch = setting_.watch,
                       .offload = offloads ? &setting_.arenas.offload(live.slot) : nullptr};
  live.pass.emplace(setting_.model, op.chunk, call, PassMemory{kept, setting_.arenas.transient()}, kind_of(op));
  live.pass->forward(input, output);
}

void TrainingWork::backward(const PipelineOp& op, const Tensor& doutput, const Tensor& dinput) {
  const StagePass::Gradient gradient{
      .doutput = doutput, .dinput = dinput, .grad_scale = grad_scale_, .totals = setting_.totals};
  StagePass& pass = *live(op).pass;
  if (op.kind == PipelineOpKind::kInputGradient) return pass.input_gradient(gradient);
  pass.backward(gradient);
  live_.erase({op.chunk, op.micro_batch});
}

void TrainingWork::weight_gradient(const PipelineOp& op) {
  live(op).pass->weight_gradient();
  live_.erase({op.chunk, op.micro_batch});
}

Tensor EvaluationWork::in_buffer(const Tensor& buffer, int micro_batch) {
  return activations_in(buffer, setting_.model, at(micro_batches_, micro_batch));
}

void EvaluationWork::forward(const PipelineOp& op, const Tensor& input, const Tensor& output) {
  ReadyMicroBatch& micro_batch = at(micro_batches_, op.micro_batch);
  Arena& arena = setting_.arenas.roomiest(op.chunk);
  Arena::Scope scope(arena);
  const StageCall call{.exec = setting_.exec,
                       .batch = upload(setting_.exec, micro_batch.planned->local, arena),
                       .attention = micro_batch.attention.by_pattern(),
                       .watch = setting_.watch};
  const StageSpan& stage = setting_.model.stages()[static_cast<std::size_t>(op.chunk)];
  setting_.model.evaluate_stage(call, op.chunk, input, output, stage.has_head ? setting_.totals : Tensor(), arena);
}

void EvaluationWork::backward(const PipelineOp& op, const Tensor&, const Tensor&) {
  fail(ErrorKind::kInternal, "{} in validation", letter_of(op.kind));
}

void EvaluationWork::weight_gradient(const PipelineOp& op) {
  fail(ErrorKind::kInternal, "{} in validation", letter_of(op.kind));
}

}  // namespace longspan
