#include "trainer/loop/trainer.h"

#include <array>
#include <chrono>
#include <optional>
#include <set>

#include "kernels/ops/matmul.h"
#include "parallel/pipeline/schedule_file.h"
#include "trainer/launch/launch.h"
#include "trainer/launch/rank_device.h"
#include "trainer/loop/chip.h"
#include "trainer/loop/learner.h"
#include "trainer/loop/metrics.h"
#include "trainer/loop/parity_probe.h"
#include "trainer/loop/precision.h"
#include "trainer/loop/run_folder.h"
#include "trainer/loop/run_plan.h"
#include "trainer/loop/run_state.h"
#include "trainer/loop/schedule.h"

namespace longspan {
namespace {

// What rank 0 alone keeps: the run's folder, its metrics and its checkpoints.
struct Desk {
  explicit Desk(const Config& config)
      : folder(config.run_folder()),
        checkpoints(config.checkpoint_folder(), config.checkpoint.keep, config.checkpoint.async) {}
  RunFolder folder;
  CheckpointWriter checkpoints;
  std::optional<MetricsFile> metrics;  // opened once it is known which step comes next
};

class Trainer {
 public:
  Trainer(const Config& config, Communicator& world, const TrainerHooks& hooks);
  void run();

 private:
  void announce();
  void probe();
  void resume();
  void train_step();
  void tell_if_kept(const StepPlan& plan);
  void validate();
  void save();
  bool any_rank_wants_to_stop();
  bool due(std::int64_t every) const { return every > 0 && step_ % every == 0; }
  void print(const std::string& text) const {
    if (desk_) hooks_.print(text);
  }

  const Config& config_;
  const TrainerHooks& hooks_;
  Communicator& world_;
  DeviceChoice choice_;
  RankDevice device_;
  DeviceWorld device_world_;
  RunPlan plan_;
  Mesh mesh_;
  std::optional<Desk> desk_;
  std::unique_ptr<Loader> training_, validation_;
  Learner learner_;
  RunState run_state_;
  StepPlanner planner_;
  double flops_per_token_;
  double peak_flops_;          // of all GPUs together; 0: not known
  std::int64_t step_ = 0;      // steps done
  std::int64_t consumed_ = 0;  // sequences trained on, over all ranks
  std::int64_t saved_ = -1;    // step of the last checkpoint
  bool told_kept_ = false;
};

DeviceChoice checked_device(const Config& config, Communicator& world) {
  require_same(world, to_yaml(config), "config");
  if (config.parallel.pipeline > 1 && world.backend() != "local") load_kernels_at_start();
  DeviceChoice choice = choose_device(config.run.device);
  require_same(world, std::string(name_of(choice.device)), "device that run.device: auto found");
  LS_REQUIRE(
      kUsage, config.model.offload == Offload::kNone || choice.device == Device::kCuda,
      "model.offload: activations moves them from a GPU's memory to the host's, but this run computes on the CPU "
      "({}); set model.offload: none",
      choice.why);
  return choice;
}

RunPlan checked_plan(const Config& config, Communicator& world, const RankDevice& device) {
  RunPlan plan = make_run_plan(config, world.size(), world.rank(), threads_per_rank(config.run.threads, world),
                               ranks_of_each_host(world), device.device());
  require_memory(config, plan, world, {device.ordinal(), device.runtime().memory_bytes()});
  return plan;
}

// 0 where one of them is of a kind that is not known. Ranks that share a GPU count it once.
double peak_flops(const Config& config, Communicator& world, const RankDevice& device) {
  const double mine = peak_flops_of(device.name(), precision_of(config.run)).value_or(0);
  const std::vector<std::string> places = gather_strings(world, fmt::format("{} {}", host_name(), device.ordinal()));
  const std::set<std::string> chips(places.begin(), places.end());
  std::array<double, 1> slowest = {mine};
  world.all_reduce(slowest, ReduceOp::kMin);
  return slowest[0] * static_cast<double>(chips.size());
}

std::unique_ptr<Loader> checked_loader(const Config& config, Communicator& world) {
  auto loader = make_training_loader(config.data, config.model.vocab, config.run.seed);
  require_same(world, fmt::format("{:016x}", loader->fingerprint()), "training data");
  return loader;
}

Trainer::Trainer(const Config& config, Communicator& world, const TrainerHooks& hooks)
    : config_(config),
      hooks_(hooks),
      world_(world),
      choice_(checked_device(config, world)),
      device_(choice_, place_of(world)),
      device_world_(world, device_, {.timeout_ms = static_cast<std::int64_t>(config.run.timeout_s * 1000)}),
      plan_(checked_plan(config, world, device_)),
      mesh_(device_world_.comm(), plan_.layout.mesh),
      training_(checked_loader(config, world)),
      learner_(config, plan_, mesh_, device_),
      run_state_(mesh_.world(), learner_.model(), learner_.optimizer(), mesh_.replicas().rank(), learner_.exec()),
      planner_(*training_, config.model, plan_.place(config)),
      flops_per_token_(training_flops_per_token(config.model, config.data.sequence_length)),
      peak_flops_(peak_flops(config, world, device_)) {
  require_same(world, to_csv(plan_.layout.schedule),
               "pipeline schedule (is parallel.schedule the same file on all hosts?)");
  if (!config.data.validation.empty()) {
    validation_ = make_validation_loader(config.data, config.model.vocab);
    require_same(world, fmt::format("{:016x}", validation_->fingerprint()), "validation data");
  }
  if (world.rank() == 0) desk_.emplace(config);
}

void Trainer::announce() {
  if (!desk_) return;
  const std::string yaml = to_yaml(config_);
  desk_->folder.write("config.yaml", yaml);
  print(yaml);
  print(describe(config_, plan_) + fmt::format("device            {}\nhardware          {}\ndata              {}",
                                               describe(choice_, device_), describe_matmul_hardware(),
                                               training_->describe()));
}

void Trainer::probe() {
  if (config_.run.parity_probe) print(require_parity(config_, plan_, *training_, mesh_, device_));
}

void Trainer::resume() {
  const auto state = run_state_.resume(config_, training_->fingerprint(), hooks_.print);
  if (state) {
    learner_.refresh_weights();
    step_ = saved_ = state->step;
    consumed_ = state->sequences_consumed;
  }
  if (desk_) desk_->metrics.emplace(config_.run_folder() + "/metrics.jsonl", step_);
}

// Once: it will be so again and again.
void Trainer::tell_if_kept(const StepPlan& plan) {
  if (plan.why_kept.empty() || told_kept_) return;
  told_kept_ = true;
  print(fmt::format(
      "step {}: documents stay where they are packed but for exchanges, {}; `longspan data balance` says how "
      "often that is so, and a greater data.balance_tokens makes room",
      step_, plan.why_kept));
}

void Trainer::train_step() {
  const auto start = std::chrono::steady_clock::now();
  StepPlan plan = planner_.take(plan_.sequences_at(consumed_));
  ++step_;
  consumed_ += config_.data.global_batch;
  if (step_ < config_.run.steps) planner_.prepare(plan_.sequences_at(consumed_));

  tell_if_kept(plan);
  const double lr = learning_rate(config_.optimizer, config_.run.steps, step_);
  const StepOutcome outcome = learner_.train(plan, step_, lr);
  if (!desk_) return;
  const StepMetrics metrics{.step = step_,
                            .loss = outcome.loss,
                            .grad_norm = outcome.grad_norm,
                            .lr = lr,
                            .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                            .tokens = outcome.num_tokens,
                            .exposed = outcome.exposed,
                            .flops_per_token = flops_per_token_,
                            .peak_flops = peak_flops_,
                            .peak_bytes = learner_.peak_bytes()};
  desk_->metrics->add(metrics);
  if (step_ == 1 || step_ == config_.run.steps || due(config_.log.every)) print(describe(metrics, config_.run.steps));
  hooks_.progress(step_, config_.run.steps);
}

void Trainer::validate() {
  const std::int64_t count = std::min(config_.data.validation_sequences, validation_->sequences_per_epoch());
  const double loss = learner_.validate(*validation_, plan_.place(config_), count);
  if (!desk_) return;
  desk_->metrics->add_validation(step_, loss);
  print(fmt::format("step {}/{} | validation loss {:.6f} over {} sequence(s)", step_, config_.run.steps, loss, count));
}

void Trainer::save() {
  if (saved_ == step_) return;
  saved_ = step_;
  run_state_.save(desk_ ? &desk_->checkpoints : nullptr, {.step = step_,
                                                          .sequences_consumed = consumed_,
                                                          .data_fingerprint = training_->fingerprint(),
                                                          .config_yaml = to_yaml(config_),
                                                          .tensors = {}});
}

bool Trainer::any_rank_wants_to_stop() {
  std::array<double, 1> wants = {hooks_.stop_requested() ? 1.0 : 0.0};
  world_.all_reduce(wants, ReduceOp::kMax);
  return wants[0] > 0;
}

void Trainer::run() {
  announce();
  probe();
  resume();
  bool stopped = false;
  while (step_ < config_.run.steps && !stopped) {
    train_step();
    const bool last = step_ == config_.run.steps;
    if (validation_ && (last || due(config_.data.validate_every))) validate();
    stopped = any_rank_wants_to_stop();
    if (last || stopped || due(config_.checkpoint.every)) save();
  }
  learner_.finish();
  if (desk_) desk_->checkpoints.finish();
  world_.barrier();  // no rank leaves as if all were well while the last save may still fail
  print(fmt::format("{} after step {}/{}", stopped ? "asked to stop: saved and leaving" : "done", step_,
                    config_.run.steps));
}

}  // namespace

void train(const Config& config, Communicator& world, const TrainerHooks& hooks) {
  Trainer(config, world, hooks).run();
}

}  // namespace longspan
