#include "trainer/loop/learner.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "kernels/core/host_copy.h"
#include "kernels/ops/layer_ops.h"
#include "kernels/ops/training_ops.h"
#include "trainer/loop/precision.h"

namespace longspan {
namespace {

// On the host arenas reserve address space only. A GPU's memory is real: what the budget says, and the little that
// aligning the ends takes.
std::int64_t arena_bytes(Device device, std::int64_t num_bytes) {
  return device == Device::kCpu ? 2 * num_bytes + (std::int64_t{64} << 20) : num_bytes + 4096;
}

// How much of the gradient an update uses, so that its norm is at most clip_norm (0: no limit).
double clip_scale(double norm, double clip_norm) {
  return clip_norm > 0 && norm > clip_norm ? clip_norm / norm : 1;
}

Model make_model(const Config& config, const RunPlan& plan, Arena& weights) {
  const DType precision = precision_of(config.run);
  std::vector<StageSpan> stages = plan.layout.stages_of(plan.mesh_place().pipeline);
  auto owned = owned_ranges(config, plan.layout, plan.mesh_place());
  if (!owned) return Model(config.model, precision, Gradients::kKeep, weights, std::move(stages));
  return Model(config.model, precision, Gradients::kKeep, weights, std::move(stages), std::move(*owned));
}

// The greatest of all hashes is also the smallest; over one group after another, so that all their ranks learn it.
bool same_on_all(std::initializer_list<Communicator*> groups, std::uint64_t value) {
  const auto hash = std::bit_cast<std::int64_t>(value);
  std::array<std::int64_t, 2> greatest = {hash, ~hash};
  for (Communicator* group : groups) group->all_reduce(Tensor(greatest.data(), DType::kI64, {2}), ReduceOp::kMax);
  return greatest[0] == ~greatest[1];
}

}  // namespace

Learner::Learner(const Config& config, const RunPlan& plan, Mesh& mesh, const RankDevice& device)
    : config_(config),
      layout_(plan.layout),
      mesh_(mesh),
      weights_("weights", arena_bytes(device.device(), plan.budget.weights + plan.budget.gradients), device.runtime()),
      state_("optimizer", arena_bytes(device.device(), plan.budget.optimizer + plan.budget.reduction),
             device.runtime()),
      passes_(plan.budget.passes, device.runtime(), mesh.context()),
      operator_workspace_(plan.budget.workspace),
      exec_(device.exec(plan.num_threads, &passes_.workspace())),
      links_(mesh.pipeline(), plan.layout.schedule),
      pipeline_clock_(device.runtime(), exec_.stream),
      figures_(state_.allocate_zeroed("figures of a step", MemoryCategory::kOptimizer, DType::kF64, {3})),
      model_(make_model(config, plan, weights_)),
      sync_(exec_, config, plan.layout, mesh, model_, state_),
      reduced_(sync_.replicas(), {&weights_, &state_}),
      optimizer_(config.optimizer, model_.parameters(), model_.pieces(), state_) {
  LS_CHECK(plan.device == device.device(), "a plan for {} on {}", name_of(plan.device), device.name());
  exec_.reserved_multiprocessors = static_cast<int>(config.parallel.comm_sms);
  model_.initialize(exec_, config.run.seed);
}

void Learner::refresh_weights() {
  model_.refresh_compute(exec_);
  sync_.send_weights();
}

void Learner::finish() {
  sync_.finish_weights();
}

std::int64_t Learner::peak_bytes() const {
  return weights_.peak_bytes() + state_.peak_bytes() + passes_.peak_bytes();
}

// The same documents go to the same places on all ranks, and all ranks of a sequence, which are those of a context
// group at every place of the pipeline, have equal plans.
void Learner::require_same_plans(const StepPlan& plan, std::int64_t step) {
  LS_REQUIRE(kEnvironment, same_on_all({&mesh_.world()}, plan.documents_hash),
             "step {}: the ranks placed its documents differently; do all hosts see the same data files and run the "
             "same build?",
             step);
  LS_REQUIRE(kEnvironment, same_on_all({&mesh_.context(), &mesh_.pipeline()}, plan.hash),
             "step {}: the ranks that share a sequence planned different transfers; do all hosts see the same data "
             "files and run the same build?",
             step);
}

std::vector<ReadyMicroBatch> Learner::ready(StepPlan& plan) {
  std::vector<ReadyMicroBatch> micro_batches;
  std::int64_t tokens = 0, attention_workspace = 0;
  for (PlannedMicroBatch& planned : plan.micro_batches) {
    micro_batches.push_back({&planned, AttentionSet(config_.model, model_.precision(), exec_.device, planned.plans,
                                                    mesh_.context(), hop_formats(config_.parallel))});
    tokens = std::max(tokens, planned.local.num_tokens());
    attention_workspace = std::max(attention_workspace, micro_batches.back().attention.workspace_bytes());
  }
  PassBytes bytes = pass_bytes(config_, layout_, mesh_.place().pipeline, tokens, exec_.device);
  bytes.workspace = attention_workspace + operator_workspace_;
  passes_.make_room(bytes, exec_.stream);
  return micro_batches;
}

void Learner::add_squares(const Tensor& figure) {
  for (const FlatRange& range : sync_.counted())
    sum_of_squares(exec_, model_.all_gradients().narrow(0, range.begin, range.end), figure);
}

StepOutcome Learner::train(StepPlan& plan, std::int64_t step, double lr) {
  StepOutcome outcome;
  require_same_plans(plan, step);
  const MeshPlace place = mesh_.place();
  const bool counts_labels = place.pipeline == 0;  // where they live, at one place of the pipeline
  const bool counts_tokens = counts_labels && place.context == 0;
  std::array<double, 2> totals = {counts_labels ? static_cast<double>(plan.num_labels) : 0,
                                  counts_tokens ? static_cast<double>(plan.num_tokens) : 0};
  mesh_.world().all_reduce(totals, ReduceOp::kSum);
  const double labels = totals[0];
  outcome.num_tokens = static_cast<std::int64_t>(totals[1]);
  LS_REQUIRE(kData, labels > 0, "step {}: no token of the batch has a next token in its document to learn from", step);

  fill_zero(exec_, figures_);
  fill_zero(exec_, model_.all_gradients());
  std::vector<ReadyMicroBatch> micro_batches = ready(plan);
  {
    TrainingWork work({exec_, model_, passes_, &sync_, figures_.narrow(0, 0, 2)}, layout_.schedule, place.pipeline,
                      micro_batches, static_cast<float>(1 / labels));
    PipelineExecutor executor(layout_.schedule, layout_.traffic, links_, passes_.hand_overs());
    sync_.begin_step(layout_.micro_batches, executor);
    executor.run(exec_, work, pipeline_clock_);
    sync_.finish_gradients();
  }
  add_squares(figures_.narrow(0, 2, 3));
  const std::vector<double> figures = read_doubles(exec_, figures_);
  for (const ReadyMicroBatch& micro_batch : micro_batches)
    outcome.exposed.context += micro_batch.attention.exposed_seconds();
  outcome.exposed.pipeline = pipeline_clock_.take_seconds();
  outcome.exposed.data = sync_.take_exposed_seconds();
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
  sync_.send_weights();
  return outcome;
}

void Learner::evaluate(const Loader& loader, const PlanPlace& place, const std::vector<std::int64_t>& indices,
                       const Tensor& totals) {
  StepPlan plan = plan_step(loader, config_.model, place, indices, 1);
  std::vector<ReadyMicroBatch> micro_batches = ready(plan);
  const PipelineSchedule schedule = forwards_alone(layout_.schedule, static_cast<int>(indices.size()));
  const StageTraffic traffic = plan_traffic(schedule);
  EvaluationWork work({exec_, model_, passes_, nullptr, totals}, micro_batches);
  WaitClock untold(*exec_.runtime, exec_.stream);  // a step tells its own waits alone
  PipelineExecutor(schedule, traffic, links_, passes_.hand_overs()).run(exec_, work, untold);
  exec_.runtime->synchronize(exec_.stream);  // before the batches it reads go
}

double Learner::validate(const Loader& loader, const PlanPlace& place, std::int64_t count) {
  sync_.finish_weights();
  const Tensor totals = figures_.narrow(0, 0, 2);
  fill_zero(exec_, totals);
  const int group = layout_.validation_group();
  std::vector<std::int64_t> indices;
  for (std::int64_t index = mesh_.place().data; index < count; index += layout_.mesh.data) {
    indices.push_back(index);
    if (static_cast<int>(indices.size()) < group && index + layout_.mesh.data < count) continue;
    evaluate(loader, place, indices, totals);
    indices.clear();
  }
  std::vector<double> sums = read_doubles(exec_, totals);
  mesh_.world().all_reduce(sums, ReduceOp::kSum);
  LS_REQUIRE(kData, sums[1] > 0, "data.validation: no token has a next token in its document");
  return sums[0] / sums[1];
}

}  // namespace longspan
