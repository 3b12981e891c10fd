#include "trainer/loop/run_plan.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "models/model.h"
#include "parallel/pipeline/timeline.h"
#include "trainer/launch/launch.h"

namespace longspan {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

// Those that give the same word, in order.
std::vector<int> ranks_at(const std::string& place, Communicator& world) {
  const std::vector<std::string> places = gather_strings(world, place);
  std::vector<int> ranks;
  for (int rank = 0; rank < world.size(); ++rank)
    if (places[static_cast<std::size_t>(rank)] == place) ranks.push_back(rank);
  return ranks;
}

// Ranks that share a memory, what they need of it together and what there is.
struct SharedMemory {
  std::string name;  // "host-7", "GPU 3 of host-7"
  HostRanks ranks;
  double need = 0, have = 0;
  std::string source;  // of `have`
};

// Keys that take less memory and are not yet in use.
std::vector<std::string> what_else_would_save(const Config& config, const RunPlan& plan) {
  const bool on_gpus = plan.device != Device::kCpu;
  std::vector<std::string> ways{on_gpus ? "more GPUs" : "more hosts"};
  if (config.run.precision == "fp32") ways.push_back("run.precision bf16");
  if (config.model.recompute == Recompute::kNone) ways.push_back("model.recompute selective");
  if (config.model.recompute != Recompute::kFull) ways.push_back("model.recompute full");
  if (on_gpus && config.model.offload == Offload::kNone && config.model.recompute != Recompute::kNone)
    ways.push_back("model.offload activations");
  if (config.parallel.zero == 0 && plan.layout.mesh.replicas() > 1) ways.push_back("parallel.zero 1");
  if (plan.layout.schedule.name == "gpipe") ways.push_back("parallel.schedule 1f1b, which holds fewer micro-batches");
  if (config.data.packing == "balanced" && config.data.balance_tokens > 1)
    ways.push_back("a smaller data.balance_tokens");
  if (plan.layout.sequences_each > 1) ways.push_back("more parallel.micro_batches, each of fewer sequences");
  return ways;
}

[[noreturn]] void refuse(const RunPlan& plan, const SharedMemory& memory, const std::string& what_fits) {
  fail(ErrorKind::kMemory, "{} rank(s) on {} would need {:.3f} GiB of the {:.3f} there ({}); this one: {}; {}",
       memory.ranks.ranks.size(), memory.name, memory.need / kGib, memory.have / kGib, memory.source,
       describe(plan.budget), what_fits);
}

// "1f1b, stages of 3, 3, 2, 2 layers, bubble 0.273 of a step if all cost the same".
std::string describe_pipeline(const ParallelLayout& layout) {
  std::vector<std::int64_t> layers;
  for (const StageSpan& stage : layout.stages) layers.push_back(stage.layers());
  const double bubble = time_of(layout.schedule, unit_costs(layout.schedule)).bubble();
  return fmt::format("{}, stages of {} layers, {} a rank; bubble {:.3f} of a step if all stages cost the same",
                     layout.schedule.name, fmt::join(layers, ", "), layout.schedule.chunks, bubble);
}

}  // namespace

PlanPlace RunPlan::place(const Config& config) const {
  return {config.parallel.context_scheme, context_site(config, layout.mesh, ranks_per_node, device),
          mesh_place().context};
}

StepSequences RunPlan::sequences_at(std::int64_t consumed) const {
  StepSequences sequences = first_step;
  sequences.first = consumed;
  return sequences;
}

RunPlan make_run_plan(const Config& config, int world, int rank, int num_threads, int ranks_per_node, Device device) {
  RunPlan plan{.layout = resolve_layout(config, world),
               .rank = rank,
               .num_threads = num_threads,
               .ranks_per_node = config.parallel.ranks_per_node > 0 ? static_cast<int>(config.parallel.ranks_per_node)
                                                                    : ranks_per_node,
               .device = device,
               .first_step = {},
               .budget = {}};
  plan.first_step = sequences_of(config.data, plan.layout);
  plan.first_step.data_rank = plan.mesh_place().data;
  plan.budget = predict_memory(config, {plan.layout, {rank}, num_threads, plan.ranks_per_node, device}).front();
  return plan;
}

int ranks_of_each_host(Communicator& world) {
  const std::vector<std::string> hosts = gather_strings(world, host_name());
  const auto differs =
      std::find_if(hosts.begin(), hosts.end(), [&](const auto& host) { return host != hosts.front(); });
  const auto each = static_cast<std::size_t>(differs - hosts.begin());
  if (hosts.size() % each != 0) return 1;
  for (std::size_t rank = 0; rank < hosts.size(); ++rank)
    if (hosts[rank] != hosts[rank / each * each]) return 1;
  return static_cast<int>(each);
}

void require_memory(const Config& config, const RunPlan& plan, Communicator& world, const GpuPlace& gpu) {
  const auto ranks_of = [&](const std::string& place) -> HostRanks {
    return {plan.layout, ranks_at(place, world), plan.num_threads, plan.ranks_per_node, plan.device};
  };
  SharedMemory host;
  host.name = host_name();
  host.ranks = ranks_of(host.name);
  host.need = static_cast<double>(total_host_bytes(predict_memory(config, host.ranks)));
  host.have = config.run.memory_gib > 0 ? config.run.memory_gib * kGib : static_cast<double>(host_memory_bytes());
  host.source = config.run.memory_gib > 0 ? "run.memory_gib" : "physical memory";
  SharedMemory computes = host;
  if (plan.device != Device::kCpu) {
    computes.name = fmt::format("GPU {} of {}", gpu.ordinal, host_name());
    computes.ranks = ranks_of(computes.name);
    computes.need = static_cast<double>(total_bytes(predict_memory(config, computes.ranks)));
    computes.have = static_cast<double>(gpu.memory_bytes);
    computes.source = "its memory";
  }
  if (computes.need > computes.have) {
    const std::int64_t fits =
        longest_sequence_that_fits(config, computes.ranks, static_cast<std::int64_t>(computes.have));
    refuse(plan, computes,
           fits > 0 ? fmt::format("the longest data.sequence_length that fits is {}; or use {}", fits,
                                  fmt::join(what_else_would_save(config, plan), ", or "))
                    : "not even a sequence of 64 tokens fits: use a smaller model, or more memory");
  }
  if (host.need > host.have) refuse(plan, host, "use a shorter sequence, model.offload none, or fewer ranks a host");
}

std::string describe(const Config& config, const RunPlan& plan) {
  const ModelConfig& model = config.model;
  const std::int64_t length = config.data.sequence_length;
  const ParallelLayout& layout = plan.layout;
  std::string text = fmt::format(
      "parameters        {}\n"
      "tokens a step     {} ({} sequences of {})\n"
      "ranks             {} = {} pipeline x {} data x {} context ({}), {} thread(s) each\n",
      count_parameters(model), config.data.global_batch * length, config.data.global_batch, length, layout.mesh.world(),
      layout.mesh.pipeline, layout.mesh.data, layout.mesh.context, config.parallel.context_scheme, plan.num_threads);
  if (layout.mesh.pipeline > 1 || layout.schedule.chunks > 1)
    text += fmt::format("pipeline          {}\n", describe_pipeline(layout));
  return text +
         fmt::format(
             "micro-batches     {} a data rank and step, {} sequence(s) each{}\n"
             "FLOPs a token     {:.4g}, {:.4g} of them attention (6 x matrix parameters + visible pairs, forward and "
             "backward)\n"
             "memory a rank     {}\n",
             layout.micro_batches, layout.sequences_each,
             plan.first_step.placement == DocumentPlacement::kByWork
                 ? fmt::format(", documents arranged by their work, at most {} tokens", plan.first_step.most_tokens)
                 : "",
             training_flops_per_token(model, length), attention_flops_per_token(model, length), describe(plan.budget));
}

}  // namespace longspan
