#include "trainer/loop/parallel_layout.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "models/model.h"
#include "parallel/pipeline/schedule_file.h"
#include "parallel/pipeline/schedule_planner.h"
#include "parallel/pipeline/stage_balance.h"
#include "trainer/io/text_file.h"

namespace longspan {
namespace {

// The numbers that make a layout. context is never "auto" here, chunks neither.
struct Factors {
  MeshShape mesh;
  int chunks = 1;
  std::int64_t micro_batches = 1;
};

bool is_schedule_file(const std::string& schedule) {
  return schedule.ends_with(".csv");
}

// What is asked for: a config, and the schedule that it names where that is a file.
struct Request {
  const Config& config;
  std::optional<PipelineSchedule> file;
};

int chunks_of(const Request& request) {
  const ParallelConfig& parallel = request.config.parallel;
  if (parallel.chunks > 0) return static_cast<int>(parallel.chunks);
  return request.file ? request.file->chunks : pipeline_planner(parallel.schedule).usual_chunks();
}

std::int64_t sequences_each(const Config& config, int data) {
  const std::int64_t sequences = config.data.global_batch / data;
  return config.parallel.micro_batches == 0 ? 1 : std::max<std::int64_t>(1, sequences / config.parallel.micro_batches);
}

Factors factors_of(const Request& request, const MeshShape& mesh) {
  const Config& config = request.config;
  return {mesh, chunks_of(request), config.data.global_batch / mesh.data / sequences_each(config, mesh.data)};
}

std::optional<std::string> why_not_batch(const Config& config, const Factors& factors) {
  const std::int64_t batch = config.data.global_batch, parts = config.parallel.micro_batches;
  const int data = factors.mesh.data;
  if (batch % data != 0) return fmt::format("data.global_batch {} is not a multiple of parallel.data {}", batch, data);
  if (parts > 0 && batch / data % parts != 0)
    return fmt::format("parallel.micro_batches {} does not divide the {} sequences of a data rank", parts,
                       batch / data);
  return std::nullopt;
}

std::optional<std::string> why_not_stages(const Config& config, const Factors& factors) {
  const std::int64_t layers = config.model.layers;
  const std::int64_t stages = std::int64_t{factors.mesh.pipeline} * factors.chunks;
  const std::vector<std::int64_t>& given = config.parallel.stages;
  if (layers < stages)
    return fmt::format("parallel.pipeline {} x {} chunk(s) a rank = {} stages, but the model has {} layer(s)",
                       factors.mesh.pipeline, factors.chunks, stages, layers);
  if (given.empty()) return std::nullopt;
  if (static_cast<std::int64_t>(given.size()) != stages)
    return fmt::format("parallel.stages gives {} stages, but parallel.pipeline {} x {} chunk(s) a rank are {}",
                       given.size(), factors.mesh.pipeline, factors.chunks, stages);
  return std::nullopt;
}

std::optional<std::string> why_not_schedule(const Request& request, const Factors& factors) {
  const PipelineShape shape{factors.mesh.pipeline, static_cast<int>(factors.micro_batches), factors.chunks};
  const std::string& name = request.config.parallel.schedule;
  if (request.file) {
    const PipelineSchedule& file = *request.file;
    if (file.ranks == shape.ranks && file.chunks == shape.chunks && file.micro_batches == shape.micro_batches)
      return std::nullopt;
    return fmt::format(
        "{} is a schedule of {} rank(s) x {} chunk(s) over {} micro-batches, but the run has parallel.pipeline {} x {} "
        "chunk(s) a rank and {} micro-batches a data rank and step",
        name, file.ranks, file.chunks, file.micro_batches, shape.ranks, shape.chunks, shape.micro_batches);
  }
  const auto why = pipeline_planner(name).why_unsupported(shape);
  return why ? std::optional(fmt::format("parallel.schedule {} {}", name, *why)) : std::nullopt;
}

std::vector<std::string> faults_of(const Request& request, const Factors& factors) {
  const Config& config = request.config;
  std::vector<std::string> faults;
  if (const auto batch = why_not_batch(config, factors)) return {*batch};  // the rest would speak of nonsense
  for (const auto& why : {why_not_stages(config, factors), why_not_schedule(request, factors)})
    if (why) faults.push_back(*why);
  return faults;
}

std::vector<int> divisors(int number) {
  std::vector<int> divisors;
  for (int d = 1; d <= number; ++d)
    if (number % d == 0) divisors.push_back(d);
  return divisors;
}

// The layout of this world that works and is least unlike what was asked for. Stages by hand count as asked for.
std::optional<Factors> nearest_that_fits(const Request& request, int world, const MeshShape& wanted) {
  std::optional<Factors> nearest;
  double least = std::numeric_limits<double>::infinity();
  for (const int pipeline : divisors(world))
    for (const int data : divisors(world / pipeline)) {
      if (request.config.data.global_batch % data != 0) continue;
      const Factors factors = factors_of(request, {pipeline, data, world / pipeline / data});
      if (!faults_of(request, factors).empty()) continue;
      const auto far = [](int a, int b) { return b == 0 ? 0 : std::abs(std::log(static_cast<double>(a) / b)); };
      const double distance =
          far(pipeline, wanted.pipeline) + far(data, wanted.data) + far(factors.mesh.context, wanted.context);
      if (distance >= least) continue;
      least = distance;
      nearest = factors;
    }
  return nearest;
}

[[noreturn]] void refuse(const Request& request, int world, const MeshShape& wanted,
                         const std::vector<std::string>& faults) {
  const Config& config = request.config;
  std::string text =
      fmt::format("{} over {} rank(s), schedule {} with {} chunk(s) a rank, {} layers, {} sequences a step: {}",
                  describe(wanted), world, config.parallel.schedule, chunks_of(request), config.model.layers,
                  config.data.global_batch, fmt::join(faults, "; "));
  const auto fits = nearest_that_fits(request, world, wanted);
  text += fits ? fmt::format(". What fits {} rank(s): --parallel.pipeline={} --parallel.data={} --parallel.context={}",
                             world, fits->mesh.pipeline, fits->mesh.data, fits->mesh.context)
               : std::string(
                     ". No layout of so many ranks fits this schedule, batch and depth; try parallel.schedule: 1f1b, "
                     "parallel.micro_batches: auto and parallel.stages: []");
  fail(ErrorKind::kUsage, "{}", text);
}

PipelineSchedule schedule_of(const Request& request, const Factors& factors) {
  if (request.file) return *request.file;
  return make_pipeline_schedule(request.config.parallel.schedule,
                                {factors.mesh.pipeline, static_cast<int>(factors.micro_batches), factors.chunks});
}

}  // namespace

std::vector<StageSpan> ParallelLayout::stages_of(int pipeline_rank) const {
  std::vector<StageSpan> own;
  for (const int stage : schedule.stage_of[static_cast<std::size_t>(pipeline_rank)])
    own.push_back(stages[static_cast<std::size_t>(stage)]);
  return own;
}

std::vector<StageSpan> cut_into_stages(const Config& config, int num_stages) {
  std::vector<std::int64_t> begins{0};
  if (!config.parallel.stages.empty()) {
    for (const std::int64_t layers : config.parallel.stages) begins.push_back(begins.back() + layers);
  } else {
    DepthFlops flops = training_flops_by_depth(config.model, config.data.sequence_length);
    flops.layers.back() += flops.head;
    begins = balance_stages(flops.layers, num_stages);
  }
  std::vector<StageSpan> stages;
  for (std::size_t s = 0; s + 1 < begins.size(); ++s)
    stages.push_back({begins[s], begins[s + 1], s == 0, s + 2 == begins.size()});
  return stages;
}

void plan_hand_overs(ParallelLayout& layout) {
  layout.traffic = plan_traffic(layout.schedule);
  layout.hand_overs = plan_traffic(forwards_alone(layout.schedule, layout.validation_group())).buffers;
  for (std::size_t r = 0; r < layout.hand_overs.size(); ++r)
    layout.hand_overs[r] = std::max(layout.hand_overs[r], layout.traffic.buffers[r]);
}

ParallelLayout resolve_layout(const Config& config, int world) {
  const std::string& name = config.parallel.schedule;
  Request request{.config = config, .file = std::nullopt};
  if (is_schedule_file(name)) request.file = schedule_from_csv(read_text_file(name), name);
  const MeshShape wanted{static_cast<int>(config.parallel.pipeline), static_cast<int>(config.parallel.data),
                         static_cast<int>(config.parallel.context)};
  Factors factors;
  try {
    factors = factors_of(request, resolve_mesh(world, wanted));
  } catch (const Error& error) {
    MeshShape guess = wanted;  // what else would be wrong
    guess.context = std::max(1, guess.context);
    std::vector<std::string> faults{error.what()};
    for (std::string& fault : faults_of(request, factors_of(request, guess))) faults.push_back(std::move(fault));
    refuse(request, world, wanted, faults);
  }
  const std::vector<std::string> faults = faults_of(request, factors);
  if (!faults.empty()) refuse(request, world, wanted, faults);
  const int num_stages = factors.mesh.pipeline * factors.chunks;
  PipelineSchedule schedule = schedule_of(request, factors);
  for (int rank = 0; rank < schedule.ranks; ++rank)
    for (int chunk = 0; chunk < schedule.chunks; ++chunk)
      LS_REQUIRE(kUsage, config.model.offload == Offload::kNone || !has_halves(schedule, rank, chunk),
                 "model.offload: activations brings a layer back for one backward, but parallel.schedule {} does it in "
                 "halves; use 1f1b or interleaved, or model.offload: none",
                 name);
  ParallelLayout layout{.mesh = factors.mesh,
                        .micro_batches = factors.micro_batches,
                        .sequences_each = sequences_each(config, factors.mesh.data),
                        .schedule = std::move(schedule),
                        .stages = cut_into_stages(config, num_stages),
                        .traffic = {},
                        .hand_overs = {}};
  plan_hand_overs(layout);
  return layout;
}

}  // namespace longspan
