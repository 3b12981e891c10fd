#include "trainer/loop/run_plan.h"

#include <algorithm>
#include <unistd.h>

#include "models/model.h"

namespace longspan {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

std::vector<int> ranks_on_this_host(Communicator& world) {
  const std::vector<std::string> hosts = gather_strings(world, host_name());
  std::vector<int> ranks;
  for (int rank = 0; rank < world.size(); ++rank)
    if (hosts[static_cast<std::size_t>(rank)] == host_name()) ranks.push_back(rank);
  return ranks;
}

}  // namespace

PlanPlace RunPlan::place(const Config& config) const {
  return {config.parallel.context_scheme, context_site(config, mesh, ranks_per_node), rank % mesh.context};
}

std::vector<std::int64_t> RunPlan::sequences_at(const Config& config, std::int64_t consumed) const {
  const std::int64_t first = consumed + rank / mesh.context * (config.data.global_batch / mesh.data);
  std::vector<std::int64_t> indices(static_cast<std::size_t>(sequences_per_rank));
  for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = first + static_cast<std::int64_t>(i);
  return indices;
}

RunPlan make_run_plan(const Config& config, int world, int rank, int num_threads, int ranks_per_node) {
  RunPlan plan{
      .mesh = resolve_mesh(world, static_cast<int>(config.parallel.data), static_cast<int>(config.parallel.context)),
      .rank = rank,
      .num_threads = num_threads,
      .ranks_per_node =
          config.parallel.ranks_per_node > 0 ? static_cast<int>(config.parallel.ranks_per_node) : ranks_per_node,
      .budget = {}};
  plan.sequences_per_rank = config.data.global_batch / plan.mesh.data;
  LS_CHECK(plan.sequences_per_rank * plan.mesh.data == config.data.global_batch, "global batch {} over {} data ranks",
           config.data.global_batch, plan.mesh.data);
  plan.sequences_each = sequences_per_micro_batch(config, plan.mesh);
  plan.budget = predict_memory(config, {plan.mesh, {rank}, num_threads, plan.ranks_per_node}).front();
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

void require_memory(const Config& config, const RunPlan& plan, Communicator& world) {
  const HostRanks host{plan.mesh, ranks_on_this_host(world), plan.num_threads, plan.ranks_per_node};
  const auto need = static_cast<double>(total_bytes(predict_memory(config, host)));
  const double have =
      config.run.memory_gib > 0 ? config.run.memory_gib * kGib : static_cast<double>(host_memory_bytes());
  if (need <= have) return;
  const std::int64_t fits = longest_sequence_that_fits(config, host, static_cast<std::int64_t>(have));
  fail(ErrorKind::kMemory, "{} rank(s) on {} would need {:.3f} GiB of the {:.3f} there ({}); this one: {}; {}",
       host.ranks.size(), host_name(), need / kGib, have / kGib,
       config.run.memory_gib > 0 ? "run.memory_gib" : "physical memory", describe(plan.budget),
       fits > 0
           ? fmt::format("the longest data.sequence_length that fits is {}; or use more hosts, run.precision bf16, "
                         "or model.recompute selective",
                         fits)
           : "not even a sequence of 64 tokens fits: use a smaller model, or more memory");
}

std::string describe(const Config& config, const RunPlan& plan) {
  const ModelConfig& model = config.model;
  const std::int64_t length = config.data.sequence_length;
  return fmt::format(
      "parameters        {}\n"
      "tokens a step     {} ({} sequences of {})\n"
      "ranks             {} = {} data x {} context ({}), {} thread(s) each\n"
      "micro-batches     {} a rank and step, {} sequence(s) each\n"
      "FLOPs a token     {:.4g}, {:.4g} of them attention (6 x matrix parameters + visible pairs, forward and "
      "backward)\n"
      "memory a rank     {}\n",
      count_parameters(model), config.data.global_batch * length, config.data.global_batch, length, plan.mesh.world(),
      plan.mesh.data, plan.mesh.context, config.parallel.context_scheme, plan.num_threads,
      plan.sequences_per_rank / plan.sequences_each, plan.sequences_each, training_flops_per_token(model, length),
      attention_flops_per_token(model, length), describe(plan.budget));
}

}  // namespace longspan
