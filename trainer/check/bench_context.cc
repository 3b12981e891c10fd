#include "trainer/check/bench_context.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "parallel/context/buffers.h"
#include "parallel/context/planner.h"
#include "trainer/check/bench_tools.h"
#include "trainer/check/context_layer.h"
#include "trainer/check/free_transfers.h"

namespace longspan {
namespace {

using SharedPlan = std::shared_ptr<const ContextPlan>;

AttentionDesc describe(const ContextBenchCase& which, Device device) {
  return {.device = device,
          .dtype = which.dtype,
          .heads = which.problem.heads,
          .kv_heads = which.problem.kv_heads,
          .head_dim = which.head_dim,
          .value_dim = which.value_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(which.head_dim))};
}

SharedPlan make_plan(std::string_view scheme, const ContextBenchCase& which, int ranks, Device device) {
  return std::make_shared<const ContextPlan>(
      make_context_plan(scheme, which.problem, ContextSite(ranks, describe(which, device))));
}

// What is known before anything runs.
void foretell(const ContextPlan& plan, const PlanDirection& direction, const AttentionDesc& desc,
              ContextBenchDirection& row) {
  row.planned_bytes = bytes_sent_by_ranks(plan, direction, desc);
  row.balance_of_totals = balance_of_totals(plan, direction);
  row.balance_of_steps = balance_of_steps(plan, direction);
  for (const PeakBuffers& peak : peak_buffers(direction, plan.ranks, desc))
    row.peak_buffer_bytes = std::max(row.peak_buffer_bytes, peak.operand_bytes + peak.result_bytes);
}

void require_planned_bytes(const LayerCallSample& call, const ContextBenchDirection& row, std::string_view direction,
                           int rank) {
  const std::int64_t planned = row.planned_bytes[static_cast<std::size_t>(rank)];
  LS_REQUIRE(kInternal, call.comm_bytes == planned,
             "rank {} sent {} bytes {}, but the plan says {}; please report it with this command line", rank,
             call.comm_bytes, direction, planned);
}

std::vector<std::int64_t> gather(Communicator& comm, std::int64_t mine) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(comm.size()));
  comm.all_gather_v(Tensor(&mine, DType::kI64, {1}), Tensor(all.data(), DType::kI64, {comm.size()}),
                    std::vector<std::int64_t>(all.size(), 1));
  return all;
}

std::int64_t most(const std::vector<std::int64_t>& values) {
  return *std::max_element(values.begin(), values.end());
}

// One direction's calls, a value a repetition: of this rank, and then of the slowest or of all together.
struct Series {
  std::vector<double> seconds, compute, exposed;         // reduced to the most of any rank
  std::vector<double> total_compute, total_compute_cpu;  // reduced to the sum

  void add(const LayerCallSample& call) {
    seconds.push_back(call.seconds);
    compute.push_back(call.stats.compute_seconds);
    exposed.push_back(call.stats.exposed_seconds);
    total_compute.push_back(call.stats.compute_seconds);
    total_compute_cpu.push_back(call.stats.compute_cpu_seconds);
  }
  void reduce(Communicator& comm) {
    for (std::vector<double>* values : {&seconds, &compute, &exposed}) comm.all_reduce(*values, ReduceOp::kMax);
    for (std::vector<double>* values : {&total_compute, &total_compute_cpu}) comm.all_reduce(*values, ReduceOp::kSum);
  }
  void fill(ContextBenchDirection& row) const {
    row.median_ms = 1e3 * median(seconds);
    row.least_ms = 1e3 * least(seconds);
    row.compute_ms = 1e3 * median(compute);
    row.exposed_ms = 1e3 * median(exposed);
  }
};

KernelSeconds time_kernels(Communicator& alone, const RankDevice& device, const ContextBenchCase& which,
                           const ContextBenchOptions& options, SharedPlan plan) {
  const AttentionDesc desc = describe(which, device.device());
  ContextAttention attention(std::move(plan), alone, desc, {.device = device.device()});
  ContextLayer layer(attention, desc, 0, device, options.threads);
  layer.run(attention, alone);
  Series forward, backward;
  for (int repetition = 0; repetition < options.repetitions; ++repetition) {
    const LayerSample sample = layer.run(attention, alone);
    forward.add(sample.forward);
    backward.add(sample.backward);
  }
  return {least(forward.compute), least(backward.compute), least(forward.total_compute_cpu),
          least(backward.total_compute_cpu)};
}

// By rank 0 while the others wait; a plan for one rank is the same whatever the scheme.
KernelSeconds baseline_of(const ContextBenchRank& rank, const ContextBenchCase& which,
                          const ContextBenchOptions& options) {
  const std::unique_ptr<Communicator> alone = rank.world.split(rank.world.rank(), 0);
  KernelSeconds known;
  if (rank.world.rank() == 0) {
    SharedPlan plan = make_plan("ring", which, 1, rank.device.device());
    const auto [place, is_new] = rank.baselines.try_emplace(
        {hash_of(*plan), which.head_dim, which.value_dim, which.dtype, options.threads}, KernelSeconds{});
    if (is_new) place->second = time_kernels(*alone, rank.device, which, options, std::move(plan));
    known = place->second;
  }
  std::array<double, 4> values = {known.forward, known.backward, known.cpu_forward, known.cpu_backward};
  rank.world.all_reduce(values, ReduceOp::kMax);
  return {values[0], values[1], values[2], values[3]};
}

}  // namespace

ContextBenchRow bench_context(const ContextBenchRank& rank, const ContextBenchCase& which,
                              const ContextBenchOptions& options) {
  Communicator& world = rank.world;
  LS_REQUIRE(kUsage, options.repetitions > 0 && options.threads > 0,
             "bench context: repetitions {} and threads {} must be positive", options.repetitions, options.threads);
  LS_REQUIRE(kUsage, which.problem.num_tokens() > 0, "bench context: there are no tokens; give a length of at least 1");
  ContextBenchRow row{which, world.size(), {}, {}, {}, {}};
  SharedPlan plan;
  try {
    plan = make_plan(which.scheme, which, world.size(), rank.device.device());
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kUnsupported) throw;
    row.refusal = error.what();
    return row;
  }
  row.plan_scheme = plan->scheme;
  const AttentionDesc desc = describe(which, rank.device.device());
  foretell(*plan, plan->forward, desc, row.forward);
  foretell(*plan, plan->backward, desc, row.backward);
  const KernelSeconds baseline = baseline_of(rank, which, options);

  FreeTransfers free(world);
  const bool sends = options.transfers == Transfers::kSent;
  ContextAttention untimed(plan, world, desc, {.overlap = options.overlap, .device = rank.device.device()});
  ContextAttention timed(plan, sends ? world : free, desc,
                         {.overlap = options.overlap, .trace = rank.trace, .device = rank.device.device()});
  ContextLayer layer(untimed, desc, world.rank(), rank.device, options.threads);
  const auto run_and_count = [&](ContextAttention& attention) {
    const LayerSample sample = layer.run(attention, world);
    require_planned_bytes(sample.forward, row.forward, "forward", world.rank());
    require_planned_bytes(sample.backward, row.backward, "backward", world.rank());
    return sample;
  };
  const LayerSample first = run_and_count(untimed);
  Series forward, backward;
  for (int repetition = 0; repetition < options.repetitions; ++repetition) {
    if (rank.trace) rank.trace->events.clear();
    const LayerSample sample = sends ? run_and_count(timed) : layer.run(timed, world);
    forward.add(sample.forward);
    backward.add(sample.backward);
  }
  for (Series* series : {&forward, &backward}) series->reduce(world);
  forward.fill(row.forward);
  backward.fill(row.backward);
  row.forward.work_ratio = least(forward.total_compute) / baseline.forward;
  row.backward.work_ratio = least(backward.total_compute) / baseline.backward;
  row.forward.cpu_work_ratio = least(forward.total_compute_cpu) / baseline.cpu_forward;
  row.backward.cpu_work_ratio = least(backward.total_compute_cpu) / baseline.cpu_backward;
  row.forward.bytes_sent = gather(world, first.forward.comm_bytes);
  row.backward.bytes_sent = gather(world, first.backward.comm_bytes);
  row.forward.booked_buffer_bytes = most(gather(world, layer.forward_buffer_bytes()));
  row.backward.booked_buffer_bytes = most(gather(world, layer.backward_buffer_bytes()));
  return row;
}

}  // namespace longspan
