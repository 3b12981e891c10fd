#include "trainer/loop/memory_budget.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <unistd.h>

#include "models/model.h"
#include "trainer/loop/attention_set.h"
#include "trainer/loop/optimizer.h"
#include "trainer/loop/precision.h"
#include "trainer/loop/step_plan.h"
#include "trainer/loop/weight_sync.h"

namespace longspan {
namespace {

// A place in a group that is not there: enough to ask plans what they will need.
class AbsentGroup final : public Communicator {
 public:
  AbsentGroup(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view backend() const override { return "absent"; }
  std::unique_ptr<PendingTransfers> start(std::span<const Send>, std::span<const Receive>, std::string_view) override {
    refuse();
  }
  void all_reduce(const Tensor&, ReduceOp) override { refuse(); }
  void all_reduce(std::span<double>, ReduceOp) override { refuse(); }
  void all_gather_v(const Tensor&, const Tensor&, std::span<const std::int64_t>) override { refuse(); }
  void reduce_scatter_v(const Tensor&, const Tensor&, std::span<const std::int64_t>) override { refuse(); }
  void all_to_all_v(const Tensor&, std::span<const std::int64_t>, const Tensor&,
                    std::span<const std::int64_t>) override {
    refuse();
  }
  void broadcast(const Tensor&, int) override { refuse(); }
  void barrier() override { refuse(); }
  std::unique_ptr<Communicator> split(int, int) override { refuse(); }
  void abort(const std::string&) noexcept override {}
  std::string abort_reason() override { return ""; }
  std::int64_t bytes_sent() const override { return 0; }

 private:
  [[noreturn]] static void refuse() { fail(ErrorKind::kInternal, "a group that is only planned was asked to talk"); }
  int rank_, size_;
};

// As many documents of full length as a micro-batch has room for, and a rest: the heaviest it can be.
std::vector<std::int64_t> full_documents(std::int64_t length, std::int64_t most_tokens) {
  std::vector<std::int64_t> cu_seqlens{0};
  while (cu_seqlens.back() < most_tokens) cu_seqlens.push_back(std::min(most_tokens, cu_seqlens.back() + length));
  return cu_seqlens;
}

// The number in a file that may hold "max" or not be there at all.
std::int64_t number_in(const char* path) {
  std::int64_t value = 0;
  return std::ifstream(path) >> value ? value : std::numeric_limits<std::int64_t>::max();
}

}  // namespace

AttentionNeed attention_need(const Config& config, Device device,
                             std::span<const std::shared_ptr<const ContextPlan>> plans, int context_rank) {
  AbsentGroup group(context_rank, plans.front()->ranks);
  const AttentionSet attention(config.model, precision_of(config.run), device, plans, group,
                               hop_formats(config.parallel));
  return {plans.front()->tokens_of(context_rank), attention.workspace_bytes()};
}

MemoryBudget predict_memory(const Config& config, const HostRanks& host, int rank, const AttentionNeed& attention) {
  const ModelConfig& model = config.model;
  const DType precision = precision_of(config.run);
  const MeshPlace place = host.layout.mesh.place_of(rank);
  const std::vector<StageSpan> stages = host.layout.stages_of(place.pipeline);

  MemoryBudget budget{.device = host.device,
                      .passes = pass_bytes(config, host.layout, place.pipeline, attention.tokens, host.device)};
  const auto owned = owned_ranges(config, host.layout, place);
  const auto bytes_with = [&](Gradients gradients) {
    return owned ? weight_bytes(model, stages, precision, gradients, *owned)
                 : weight_bytes(model, stages, precision, gradients);
  };
  budget.weights = bytes_with(Gradients::kNone);
  budget.gradients = bytes_with(Gradients::kKeep) - budget.weights;
  budget.optimizer = Optimizer::state_bytes(owned ? weight_layout(model, stages, precision).weights_in(*owned)
                                                  : count_parameters(model, stages));
  budget.reduction = WeightSync::buffer_bytes(config, host.layout, place);
  budget.activations = total_kept(budget.passes.pools) + budget.passes.transient;
  budget.hand_over = budget.passes.hand_overs * budget.passes.hand_over;
  for (std::size_t p = 0; p < budget.passes.pools.size(); ++p) {
    std::int64_t most = 0;  // of the stages that take turns there
    for (std::size_t c = 0; c < stages.size(); ++c)
      if (budget.passes.pool_of[c] == static_cast<int>(p))
        most = std::max(most, offloaded_bytes(model, stages[c], precision, attention.tokens));
    budget.offloaded += budget.passes.pools[p].passes * most;
  }
  budget.attention = attention.bytes;
  budget.workspace = model_workspace_bytes(model, stages, host.device, precision, attention.tokens, host.num_threads);
  budget.passes.workspace = budget.attention + budget.workspace;
  const bool gathers = host.layout.mesh.pipeline > 1 || owned;
  if (rank == 0 && (gathers || config.checkpoint.async || host.device != Device::kCpu))
    budget.snapshot = 3 * count_parameters(model) * size_of(DType::kF32);  // of all ranks: weights and moments
  return budget;
}

std::vector<MemoryBudget> predict_memory(const Config& config, const HostRanks& host) {
  const auto plans = plan_pattern(
      config.model,
      {config.parallel.context_scheme, context_site(config, host.layout.mesh, host.ranks_per_node, host.device)},
      full_documents(config.data.sequence_length, sequences_of(config.data, host.layout).most_tokens));
  std::vector<MemoryBudget> budgets;
  for (const int rank : host.ranks)
    budgets.push_back(predict_memory(
        config, host, rank, attention_need(config, host.device, plans, host.layout.mesh.place_of(rank).context)));
  return budgets;
}

std::int64_t total_bytes(const std::vector<MemoryBudget>& budgets) {
  std::int64_t total = 0;
  for (const MemoryBudget& budget : budgets) total += budget.total();
  return total;
}

std::int64_t total_host_bytes(const std::vector<MemoryBudget>& budgets) {
  std::int64_t total = 0;
  for (const MemoryBudget& budget : budgets) total += budget.host_total();
  return total;
}

std::int64_t longest_sequence_that_fits(const Config& config, const HostRanks& host, std::int64_t num_bytes) {
  constexpr std::int64_t kStep = 64;
  const auto fits = [&](std::int64_t steps) {
    Config candidate = config;
    candidate.data.sequence_length = steps * kStep;
    return total_bytes(predict_memory(candidate, host)) <= num_bytes;
  };
  std::int64_t fitting = 0, failing = std::max<std::int64_t>(1, config.data.sequence_length / kStep + 1);
  while (fitting + 1 < failing) {
    const std::int64_t middle = fitting + (failing - fitting) / 2;
    (fits(middle) ? fitting : failing) = middle;
  }
  return fitting * kStep;
}

std::int64_t host_memory_bytes() {
  const std::int64_t physical = std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGE_SIZE);
  return std::min(
      {physical, number_in("/sys/fs/cgroup/memory.max"), number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes")});
}

std::int64_t process_peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::int64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib << 10;
  }
  return 0;
}

std::string describe(const MemoryBudget& budget) {
  const auto mib = [](std::int64_t num_bytes) { return static_cast<double>(num_bytes) / (1 << 20); };
  const std::string computes = fmt::format(
      "weights {:.1f} MiB, gradients {:.1f} (and {:.1f} on their way), optimizer {:.1f}, activations {:.1f}, between "
      "stages "
      "{:.1f}, attention "
      "{:.1f}, workspace {:.1f}",
      mib(budget.weights), mib(budget.gradients), mib(budget.reduction), mib(budget.optimizer), mib(budget.activations),
      mib(budget.hand_over), mib(budget.attention), mib(budget.workspace));
  if (budget.device == Device::kCpu)
    return fmt::format("{}, snapshot {:.1f}, total {:.1f} MiB", computes, mib(budget.snapshot), mib(budget.total()));
  return fmt::format("{}, total {:.1f} MiB of the GPU; snapshot {:.1f}, offloaded {:.1f} MiB of the host", computes,
                     mib(budget.total()), mib(budget.snapshot), mib(budget.offloaded));
}

}  // namespace longspan
