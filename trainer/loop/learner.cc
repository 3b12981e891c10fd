#include "trainer/loop/learner.h"

#include <array>
#include <bit>
#include <chrono>
#include <cmath>

#include "kernels/core/host_copy.h"
#include "kernels/ops/layer_ops.h"
#include "kernels/ops/training_ops.h"
#include "trainer/loop/precision.h"

namespace longspan {
namespace {

// Arenas reserve address space only; packed documents may need somewhat more than the budget's full ones.
std::int64_t with_room(std::int64_t num_bytes) {
  return 2 * num_bytes + (std::int64_t{64} << 20);
}

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// How much of the gradient an update uses, so that its norm is at most clip_norm (0: no limit).
double clip_scale(double norm, double clip_norm) {
  return clip_norm > 0 && norm > clip_norm ? clip_norm / norm : 1;
}

}  // namespace

Learner::Learner(const Config& config, Mesh& mesh, int num_threads, const MemoryBudget& budget)
    : config_(config),
      mesh_(mesh),
      weights_("weights", with_room(budget.weights + budget.gradients)),
      state_("optimizer", with_room(budget.optimizer)),
      activations_("activations", with_room(budget.activations)),
      workspace_("workspace", with_room(budget.attention + budget.workspace)),
      exec_{.device = Device::kCpu, .num_threads = num_threads, .workspace = &workspace_},
      figures_(state_.allocate_zeroed("figures of a step", MemoryCategory::kOptimizer, DType::kF64, {3})),
      model_(config.model, precision_of(config.run), Gradients::kKeep, weights_),
      optimizer_(config.optimizer, model_.parameters(), state_) {
  model_.initialize(config.run.seed);
  refresh_compute();
}

std::int64_t Learner::peak_bytes() const {
  return weights_.peak_bytes() + state_.peak_bytes() + activations_.peak_bytes() + workspace_.peak_bytes();
}

AttentionSet Learner::attention_for(const PlannedMicroBatch& micro_batch) {
  return AttentionSet(config_.model, model_.precision(), micro_batch.plans, mesh_.context(),
                      hop_formats(config_.parallel));
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

void Learner::accumulate_gradients(StepPlan& plan, double total_labels, StepOutcome& outcome) {
  fill_zero(exec_, model_.all_gradients());
  for (PlannedMicroBatch& micro_batch : plan.micro_batches) {
    AttentionSet attention = attention_for(micro_batch);
    model_.forward_backward(exec_, micro_batch.local.batch(), attention.by_pattern(),
                            static_cast<float>(1 / total_labels), figures_.narrow(0, 0, 2), activations_);
    outcome.exposed_context_seconds += attention.exposed_seconds();
  }
}

StepOutcome Learner::train(StepPlan& plan, std::int64_t step, double lr) {
  StepOutcome outcome;
  require_same_plans(plan, step);
  const bool counts = mesh_.context_rank() == 0;  // tokens of a sequence once, labels where they live
  std::array<double, 2> totals = {static_cast<double>(plan.num_labels),
                                  counts ? static_cast<double>(plan.num_tokens) : 0};
  mesh_.world().all_reduce(totals, ReduceOp::kSum);
  const double labels = totals[0];
  outcome.num_tokens = static_cast<std::int64_t>(totals[1]);
  LS_REQUIRE(kData, labels > 0, "step {}: no token of the batch has a next token in its document to learn from", step);

  fill_zero(exec_, figures_);
  accumulate_gradients(plan, labels, outcome);
  const Stopwatch reduction;
  mesh_.world().all_reduce(model_.all_gradients(), ReduceOp::kSum);
  outcome.exposed_data_seconds = reduction.seconds();

  // Rank 0 alone sums the squares, so that all ranks clip alike whatever their number of threads.
  if (mesh_.world().rank() == 0) sum_of_squares(exec_, model_.all_gradients(), figures_.narrow(0, 2, 3));
  const std::vector<double> figures = read_doubles(exec_, figures_);
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
  for (std::int64_t index = mesh_.data_rank(); index < count; index += mesh_.shape().data) {
    StepPlan plan = plan_step(loader, config_.model, place, {index}, 1);
    PlannedMicroBatch& only = plan.micro_batches.front();
    AttentionSet attention = attention_for(only);
    model_.evaluate(exec_, only.local.batch(), attention.by_pattern(), totals, activations_);
  }
  std::vector<double> sums = read_doubles(exec_, totals);
  mesh_.world().all_reduce(sums, ReduceOp::kSum);
  LS_REQUIRE(kData, sums[1] > 0, "data.validation: no token has a next token in its document");
  return sums[0] / sums[1];
}

}  // namespace longspan
