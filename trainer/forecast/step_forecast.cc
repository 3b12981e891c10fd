#include "trainer/forecast/step_forecast.h"

#include <algorithm>
#include <cmath>

#include "models/model.h"
#include "trainer/forecast/stage_time.h"
#include "trainer/loop/precision.h"

namespace longspan {
namespace {

// Of the optimizer's step, for each weight: read weight, gradient and both moments, write weight and moments.
constexpr double kUpdateBytes = 28, kCopyBytes = 2;
constexpr double kNormBytes = 4, kClearBytes = 4;  // the gradient's norm; its zeros before the next step
constexpr int kSmallCollectives = 4;               // a step: plans, labels, loss and norm

// A machine whose rates are those of a rank of so many threads, `times` slower.
Machine with_rates(Machine machine, double times) {
  for (ProductRate& rate : machine.products) {
    rate.forward *= times;
    rate.input_gradient *= times;
    rate.weight_gradient *= times;
  }
  for (AttentionRate& rate : machine.attention) {
    rate.forward *= times;
    rate.backward *= times;
  }
  machine.head_rate *= times;
  machine.bytes_per_second *= times;
  machine.update_bytes_per_second *= times;
  machine.seconds_per_operator /= times;
  return machine;
}

// As measured a rank had `threads` threads, and shared the cores with the others.
Machine at_own_cores(const Machine& machine, int num_threads) {
  return with_rates(machine, machine.slowdown(machine.ranks, machine.threads) * num_threads / machine.threads);
}

int ranks_of_node(const ForecastPlace& place, int world) {
  return place.ranks_per_node > 0 ? std::min(place.ranks_per_node, world) : world;
}

// Between a place in the pipeline and the next: where any of its messages leaves the node, the network's.
const Link& link_after(int pipeline_rank, const MeshShape& mesh, int node, const Machine& machine) {
  const int first = pipeline_rank * mesh.replicas(), last = first + mesh.replicas() - 1;
  const auto leaves = [&](int rank) { return rank / node != (rank + mesh.replicas()) / node; };
  return leaves(first) || leaves(last) ? machine.network : machine.node;
}

double wire_width(const Machine& machine) {
  return static_cast<double>(size_of(machine.precision));
}

// The longest stretch by which what is gathered in order of use comes too late for a forward that begins later.
double late_gather(double gather_seconds, const Timeline::Span& first_forward) {
  const double length = first_forward.end - first_forward.begin;
  return std::max(0.0, gather_seconds - first_forward.begin - length);
}

}  // namespace

struct StepForecaster::Costs {
  PipelineCosts pipeline;
  std::vector<double> exposed_context;  // [pipeline rank], a step
};

StepForecaster::StepForecaster(const Config& config, const Machine& machine, const ForecastPlace& place)
    : machine_(at_own_cores(machine, place.num_threads)), place_(place), attention_(config, machine_, place.device) {
  LS_REQUIRE(kUsage, machine.precision == precision_of(config.run),
             "the machine's rates are of {}, but run.precision is {}; set it, or measure the machine with --precision",
             name_of(machine.precision), config.run.precision);
  if (place_.documents.empty()) place_.documents = {config.data.sequence_length};
}

ContextPlace StepForecaster::context_place(const Config& config, const ParallelLayout& layout) const {
  const int context = layout.mesh.context, node = ranks_of_node(place_, layout.mesh.world());
  return {.ranks = context,
          .ranks_per_node = node >= context ? 0 : node,
          .scheme = context == 1 ? "ring" : config.parallel.context_scheme};
}

const ContextTime& StepForecaster::context_time(const Config& config, const ParallelLayout& layout) {
  return attention_.of(context_place(config, layout), {place_.documents, layout.sequences_each});
}

ContextTime StepForecaster::ideal_context(const ParallelLayout& layout) const {
  return attention_.ideal(layout.mesh.context, {place_.documents, layout.sequences_each});
}

AttentionNeed StepForecaster::attention_need(const Config& config, const ParallelLayout& layout) {
  return attention_.need(context_place(config, layout), {place_.documents, layout.sequences_each});
}

StepForecaster::Costs StepForecaster::costs_of(const Config& config, const ParallelLayout& layout,
                                               const ContextTime& context) const {
  const MeshShape& mesh = layout.mesh;
  const int node = ranks_of_node(place_, mesh.world());
  const StageTimes times(config.model, machine_);
  Costs costs;
  costs.exposed_context.resize(static_cast<std::size_t>(mesh.pipeline));
  const std::vector<StagePlace> places = places_of_stages(layout.schedule);
  const double num_bytes = static_cast<double>(context.tokens * config.model.hidden) * wire_width(machine_);
  for (std::size_t s = 0; s < layout.stages.size(); ++s) {
    const StageTime time = times.of(layout.stages[s], context);
    costs.pipeline.stages.push_back(time.cost);
    costs.exposed_context[static_cast<std::size_t>(places[s].rank)] +=
        time.exposed_context * static_cast<double>(layout.micro_batches);
    const int next = s + 1 < layout.stages.size() ? places[s + 1].rank : places[s].rank;
    costs.pipeline.transfers.push_back(
        link_after(std::min(places[s].rank, next), mesh, node, machine_).seconds_of(num_bytes));
  }
  // Ranks of a node share its cores; a pipeline's own share goes to those of its ranks that are at work.
  const double slowdown = machine_.slowdown(node, place_.num_threads);
  if (slowdown > 1) costs.pipeline.at_once = mesh.pipeline / slowdown;
  return costs;
}

double StepForecaster::least_seconds(const Config& config, const ParallelLayout& layout, BackwardKind backward,
                                     const ContextTime& context) const {
  const Costs costs = costs_of(config, layout, context);
  const std::vector<StageCost>& stages = costs.pipeline.stages;
  const double micro_batches = static_cast<double>(layout.micro_batches);
  std::vector<double> way_there(stages.size() + 1), way_back(stages.size() + 1);  // through the stages above
  for (std::size_t s = 0; s < stages.size(); ++s) {
    way_there[s + 1] = way_there[s] + stages[s].forward;
    way_back[s + 1] =
        way_back[s] + stages[s].input_gradient + (backward == BackwardKind::kWhole ? stages[s].weight_gradient : 0);
  }
  double least = 0, work_of_all = 0;
  for (const std::vector<int>& own : layout.schedule.stage_of) {
    double work = 0, weights = 0;
    for (const int stage : own) {
      const StageCost& cost = stages[static_cast<std::size_t>(stage)];
      work += micro_batches * (cost.forward + cost.input_gradient + cost.weight_gradient);
      weights += micro_batches * cost.weight_gradient;
    }
    const auto first = static_cast<std::size_t>(*std::min_element(own.begin(), own.end()));
    // Weights' gradients may come while the last gradient is on its way back through the others.
    const double held_up = backward == BackwardKind::kWhole ? work : work - weights;
    least = std::max({least, way_there[first] + work, way_there[first] + held_up + way_back[first]});
    work_of_all += work;
  }
  return costs.pipeline.at_once > 0 ? std::max(least, work_of_all / costs.pipeline.at_once) : least;
}

void StepForecaster::add_sums(const Config& config, const ParallelLayout& layout, StepForecast& step) const {
  const MeshShape& mesh = layout.mesh;
  const int node = ranks_of_node(place_, mesh.world());
  const Replicas replicas{mesh.replicas(), node};
  const double slowdown = machine_.slowdown(node, place_.num_threads);
  const bool in_shards = config.parallel.zero > 0;
  const bool has_copy = machine_.precision != DType::kF32;
  double sums_end = 0, update_seconds = 0, gather_seconds = 0;
  for (int rank = 0; rank < mesh.pipeline; ++rank) {
    const std::vector<StageSpan> stages = layout.stages_of(rank);
    const double weights = static_cast<double>(count_parameters(config.model, stages));
    const double gradient_bytes = 4 * weights;
    const double half = scatter_seconds(replicas, machine_, gradient_bytes);
    BucketPlan buckets{.seconds = in_shards ? half : 2 * half,
                       .buckets = std::max<std::int64_t>(
                           1, static_cast<std::int64_t>(gradient_bytes / (config.parallel.bucket_mib * (1 << 20)))),
                       .shares = {},
                       .overlap = machine_.overlap};
    for (const StageSpan& stage : stages)
      buckets.shares.push_back(static_cast<double>(count_parameters(config.model, std::span(&stage, 1))));
    double total = 0;
    for (const double share : buckets.shares) total += share;
    for (double& share : buckets.shares) share /= total;
    const Stretch sum = sum_in_buckets(step.timeline.spans[static_cast<std::size_t>(rank)], buckets);
    step.sums.push_back(sum);
    sums_end = std::max(sums_end, sum.end);

    const double updated = in_shards ? weights / mesh.replicas() : weights;
    update_seconds =
        std::max(update_seconds,
                 slowdown * (updated * (kUpdateBytes + (has_copy ? kCopyBytes : 0)) / machine_.update_bytes_per_second +
                             weights * (kNormBytes + kClearBytes) / machine_.bytes_per_second));
    if (in_shards && mesh.replicas() > 1)
      gather_seconds = std::max(gather_seconds, scatter_seconds(replicas, machine_, weights * wire_width(machine_)));
  }
  const Link& link = node < mesh.world() ? machine_.network : machine_.node;
  update_seconds += mesh.world() > 1 ? kSmallCollectives * link.seconds_per_message : 0;
  double late = machine_.overlap == TransferOverlap::kOnCore ? gather_seconds : 0;
  if (machine_.overlap == TransferOverlap::kHidden && gather_seconds > 0)
    for (const auto& spans : step.timeline.spans) late = std::max(late, late_gather(gather_seconds, spans.front()));
  step.exposed_data = std::max(0.0, sums_end - step.timeline.end) + late;
  step.update = {std::max(sums_end, step.timeline.end), 0};
  step.update.end = step.update.begin + update_seconds;
  step.update_seconds = update_seconds;
  step.gather = {step.update.end, step.update.end + gather_seconds};
  step.step_seconds = step.update.end + late;
}

StepForecast StepForecaster::forecast(const Config& config, const ParallelLayout& layout) {
  Costs costs = costs_of(config, layout, context_time(config, layout));
  StepForecast step;
  step.world = layout.mesh.world();
  step.peak = machine_.peak;
  step.schedule = layout.schedule;
  step.timeline = time_of(layout.schedule, costs.pipeline);
  LS_CHECK(step.timeline.is_complete, "schedule {} does not end", layout.schedule.name);
  step.bubble = step.timeline.bubble();
  step.exposed_context = *std::max_element(costs.exposed_context.begin(), costs.exposed_context.end());
  costs.pipeline.transfers.assign(costs.pipeline.transfers.size(), 0);
  step.exposed_pipeline = std::max(0.0, step.timeline.end - time_of(layout.schedule, costs.pipeline).end);
  add_sums(config, layout, step);
  double sequence = 0;
  for (const std::int64_t length : place_.documents) sequence += static_cast<double>(length);
  step.tokens = static_cast<double>(config.data.global_batch) * sequence;
  step.flops = step.tokens * training_flops_per_token(config.model, config.data.sequence_length);
  return step;
}

std::string describe(const StepForecast& step, const Machine& machine) {
  std::string text = fmt::format(
      "forecast          {:.4g} s a step, {:.4g} tokens/s, {:.4g} a rank, MFU {}\n"
      "  by              {}: {}\n"
      "  idle            {:.1f} % of the pipeline's time in the mean over its ranks\n"
      "  exposed         data {:.3g} ms, pipeline {:.3g}, context {:.3g}; optimizer {:.3g} ms\n",
      step.step_seconds, step.tokens_per_second(), step.tokens_per_second_and_rank(),
      step.peak > 0 ? fmt::format("{:.1f} %", 100 * step.mfu()) : "n/a", machine.name, machine.source,
      100 * step.bubble, 1e3 * step.exposed_data, 1e3 * step.exposed_pipeline, 1e3 * step.exposed_context,
      1e3 * step.update_seconds);
  return text;
}

}  // namespace longspan
