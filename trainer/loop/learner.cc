#include "trainer/loop/learner.h"

#include <array>
#include <bit>
#include <cmath>

#include "kernels/core/host_copy.h"
#include "kernels/ops/layer_ops.h"
#include "kernels/ops/training_ops.h"
#include "trainer/loop/precision.h"

namespace longspan {
namespace {

// On the host arenas reserve address space only; packed documents may need somewhat more than the budget's full ones. A
// GPU's memory is real: what the budget says, and the little that aligning the ends takes.
std::int64_t arena_bytes(Device device, std::int64_t num_bytes) {
  return device == Device::kCpu ? 2 * num_bytes + (std::int64_t{64} << 20) : num_bytes + 4096;
}

// How much of the gradient an update uses, so that its norm is at most clip_norm (0: no limit).
double clip_scale(double norm, double clip_norm) {
  return clip_norm > 0 && norm > clip_norm ? clip_norm / norm : 1;
}

}  // namespace

Learner::Learner(const Config& config, Mesh& mesh, const RankDevice& device, int num_threads,
                 const MemoryBudget& budget)
    : config_(config),
      mesh_(mesh),
      device_(device),
      weights_("weights", arena_bytes(device.device(), budget.weights + budget.gradients), device.runtime()),
      state_("optimizer", arena_bytes(device.device(), budget.optimizer), device.runtime()),
      activations_(std::in_place, "activations", arena_bytes(device.device(), budget.activations), device.runtime()),
      workspace_(std::in_place, "workspace", arena_bytes(device.device(), budget.attention + budget.workspace),
                 device.runtime()),
      operator_workspace_(budget.workspace),
      exec_(device.exec(num_threads, &*workspace_)),
      context_arenas_(mesh.context(), {&*activations_, &*workspace_}),
      reduction_begin_(device.runtime().make_event(EventTiming::kOn)),
      reduction_end_(device.runtime().make_event(EventTiming::kOn)),
      figures_(state_.allocate_zeroed("figures of a step", MemoryCategory::kOptimizer, DType::kF64, {3})),
      model_(config.model, precision_of(config.run), Gradients::kKeep, weights_),
      optimizer_(config.optimizer, model_.parameters(), state_) {
  LS_REQUIRE(kUnsupported, mesh.shape().pipeline == 1 && config.parallel.zero == 0,
             "parallel.pipeline {}, parallel.zero {}: such a layout can be planned but not run yet; set 1 and 0",
             mesh.shape().pipeline, config.parallel.zero);
  LS_CHECK(budget.device == device.device(), "a budget for {} on {}", name_of(budget.device), device.name());
  exec_.reserved_multiprocessors = static_cast<int>(config.parallel.comm_sms);
  const Tensor gradients = model_.all_gradients();
  gradients_ = mesh.world().register_memory(gradients.data, gradients.num_bytes());
  model_.initialize(exec_, config.run.seed);
}

std::int64_t Learner::peak_bytes() const {
  return weights_.peak_bytes() + state_.peak_bytes() + activations_->peak_bytes() + workspace_->peak_bytes();
}

AttentionSet Learner::attention_for(const PlannedMicroBatch& micro_batch) {
  return AttentionSet(config_.model, model_.precision(), exec_.device, micro_batch.plans, mesh_.context(),
                      hop_formats(config_.parallel));
}

void Learner::make_room(const PlannedMicroBatch& micro_batch, const AttentionSet& attention) {
  if (exec_.device == Device::kCpu) return;
  using Room = RegisteredArenas::Room;
  const std::int64_t tokens = micro_batch.local.num_tokens();
  const std::int64_t activations = arena_bytes(
      exec_.device, activation_bytes(config_.model, model_.precision(), tokens) + LocalBatch::device_bytes(tokens));
  const std::int64_t workspace = arena_bytes(exec_.device, attention.workspace_bytes() + operator_workspace_);
  const bool enough = activations <= activations_->capacity_bytes() && workspace <= workspace_->capacity_bytes();
  if (context_arenas_.of_any_rank(enough ? Room::kEnough : Room::kLacking) == Room::kEnough) return;
  exec_.runtime->synchronize(exec_.stream);
  context_arenas_.drop();
  const auto grow = [&](std::optional<Arena>& arena, const char* name, std::int64_t num_bytes) {
    if (num_bytes <= arena->capacity_bytes()) return;
    arena.reset();  // before the new one, so that both need not fit
    arena.emplace(name, num_bytes, *exec_.runtime);
  };
  grow(activations_, "activations", activations);
  grow(workspace_, "workspace", workspace);
  context_arenas_.replace({&*activations_, &*workspace_});
}

// Equal plans on all ranks: the greatest hash is also the smallest.
void Learner::require_same_plans(const StepPlan& plan, std::int64_t step) {
  const auto hash = std::bit_cast<std::int64_t>(plan.hash);
  std::array<std::int64_t, 2> greatest = {hash, ~hash};
  mesh_.context().all_reduce(Tensor(greatest.data(), DType::kI64, {2}), ReduceOp::kMax);
  LS_REQUIRE(kEnvironment, greatest[0] == ~greatest[1],
             "step {}: the ranks of a context group planned different transfers; do all hosts see the same data files "
             "and run the same build?",
             step);
}

std::vector<AttentionSet> Learner::accumulate_gradients(StepPlan& plan, double total_labels) {
  std::vector<AttentionSet> used;
  fill_zero(exec_, model_.all_gradients());
  for (PlannedMicroBatch& micro_batch : plan.micro_batches) {
    const AttentionSet& attention = used.emplace_back(attention_for(micro_batch));
    make_room(micro_batch, attention);
    Arena::Scope scope(*activations_);
    const MicroBatch batch = upload(exec_, micro_batch.local, *activations_);
    model_.forward_backward(exec_, batch, attention.by_pattern(), static_cast<float>(1 / total_labels),
                            figures_.narrow(0, 0, 2), *activations_);
  }
  return used;
}

StepOutcome Learner::train(StepPlan& plan, std::int64_t step, double lr) {
  StepOutcome outcome;
  require_same_plans(plan, step);
  const bool counts = mesh_.place().context == 0;  // tokens of a sequence once, labels where they live
  std::array<double, 2> totals = {static_cast<double>(plan.num_labels),
                                  counts ? static_cast<double>(plan.num_tokens) : 0};
  mesh_.world().all_reduce(totals, ReduceOp::kSum);
  const double labels = totals[0];
  outcome.num_tokens = static_cast<std::int64_t>(totals[1]);
  LS_REQUIRE(kData, labels > 0, "step {}: no token of the batch has a next token in its document to learn from", step);

  fill_zero(exec_, figures_);
  const std::vector<AttentionSet> attentions = accumulate_gradients(plan, labels);
  reduction_begin_->record(exec_.stream);
  mesh_.world().all_reduce(model_.all_gradients(), ReduceOp::kSum);
  reduction_end_->record(exec_.stream);

  // Rank 0 alone sums the squares, so that all ranks clip alike whatever their number of threads.
  if (mesh_.world().rank() == 0) sum_of_squares(exec_, model_.all_gradients(), figures_.narrow(0, 2, 3));
  const std::vector<double> figures = read_doubles(exec_, figures_);
  for (const AttentionSet& attention : attentions) outcome.exposed_context_seconds += attention.exposed_seconds();
  outcome.exposed_data_seconds = 1e-3 * reduction_end_->milliseconds_since(*reduction_begin_);
  std::array<double, 2> sums = {figures[0], figures[2]};
  mesh_.world().all_reduce(sums, ReduceOp::kSum);
  outcome.loss = sums[0] / labels;
  outcome.grad_norm = std::sqrt(sums[1]);
  LS_REQUIRE(kUsage, std::isfinite(outcome.loss) && std::isfinite(outcome.grad_norm),
             "step {}: loss {} and gradient norm {} are not both finite; the step was dropped and nothing saved: lower "
             "optimizer.lr, raise optimizer.warmup_steps or lower optimizer.clip_norm, then run again from the last "
             "checkpoint",
             step, outcome.loss, outcome.grad_norm);
  optimizer_.update(exec_, step, lr, clip_scale(outcome.grad_norm, config_.optimizer.clip_norm));
  return outcome;
}

double Learner::validate(const Loader& loader, const PlanPlace& place, std::int64_t count) {
  const Tensor totals = figures_.narrow(0, 0, 2);
  fill_zero(exec_, totals);
  for (std::int64_t index = mesh_.place().data; index < count; index += mesh_.shape().data) {
    StepPlan plan = plan_step(loader, config_.model, place, {index}, 1);
    PlannedMicroBatch& only = plan.micro_batches.front();
    AttentionSet attention = attention_for(only);
    make_room(only, attention);
    Arena::Scope scope(*activations_);
    const MicroBatch batch = upload(exec_, only.local, *activations_);
    model_.evaluate(exec_, batch, attention.by_pattern(), totals, *activations_);
  }
  std::vector<double> sums = read_doubles(exec_, totals);
  mesh_.world().all_reduce(sums, ReduceOp::kSum);
  LS_REQUIRE(kData, sums[1] > 0, "data.validation: no token has a next token in its document");
  return sums[0] / sums[1];
}

}  // namespace longspan
