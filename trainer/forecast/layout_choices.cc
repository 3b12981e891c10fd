#include "trainer/forecast/layout_choices.h"

#include <algorithm>
#include <array>

#include "kernels/core/error.h"
#include "parallel/pipeline/schedule_planner.h"

namespace longspan {
namespace {

// Of a pipeline of more than one rank.
struct ScheduleKind {
  const char* name;
  int chunks;
};
constexpr std::array<ScheduleKind, 6> kSchedules = {
    {{"1f1b", 1}, {"zero_bubble", 1}, {"zbv", 2}, {"interleaved", 2}, {"interleaved", 4}, {"interleaved", 8}}};

// Tasks of a context plan, about, which has one for each two ranks and document.
constexpr std::int64_t kMostTasks = 1 << 18;

std::vector<std::int64_t> divisors(std::int64_t number) {
  std::vector<std::int64_t> divisors;
  for (std::int64_t d = 1; d <= number; ++d)
    if (number % d == 0) divisors.push_back(d);
  return divisors;
}

bool has_halves(const PipelineSchedule& schedule) {
  for (int chunk = 0; chunk < schedule.chunks; ++chunk)
    for (int rank = 0; rank < schedule.ranks; ++rank)
      if (has_halves(schedule, rank, chunk)) return true;
  return false;
}

class Choices {
 public:
  Choices(const Config& config, Refusals& refused) : config_(config), refused_(refused) {}

  void add_mesh(const MeshShape& mesh) {
    if (config_.data.global_batch % mesh.data != 0) {
      ++refused_["data ranks that do not divide data.global_batch"];
      return;
    }
    if (mesh.pipeline == 1) return add_schedule(mesh, {"1f1b", 1});
    for (const ScheduleKind& kind : kSchedules) add_schedule(mesh, kind);
  }
  std::vector<LayoutChoice> take() { return std::move(choices_); }

 private:
  void add_schedule(const MeshShape& mesh, const ScheduleKind& kind) {
    if (std::int64_t{mesh.pipeline} * kind.chunks > config_.model.layers) {
      ++refused_["pipelines of more stages than layers"];
      return;
    }
    const bool halves = outline_of(kind.name, mesh.pipeline, kind.chunks).backward == BackwardKind::kHalves;
    if (halves && config_.model.offload != Offload::kNone) {
      ++refused_["schedules with backwards in halves, which model.offload does not go with"];
      return;
    }
    for (const std::int64_t micro_batches : divisors(config_.data.global_batch / mesh.data)) {
      const PipelineShape shape{mesh.pipeline, static_cast<int>(micro_batches), kind.chunks};
      if (pipeline_planner(kind.name).why_unsupported(shape)) {
        ++refused_["schedules that do not suit the number of micro-batches"];
        continue;
      }
      const std::int64_t sequences_each = config_.data.global_batch / mesh.data / micro_batches;
      if (std::int64_t{mesh.context} * mesh.context * sequences_each > kMostTasks) {
        ++refused_["micro-batches of very many sequences over hundreds of context ranks, not gone into"];
        continue;
      }
      add_memory_choices({.mesh = mesh,
                          .schedule = kind.name,
                          .chunks = kind.chunks,
                          .micro_batches = micro_batches,
                          .context_scheme = config_.parallel.context_scheme});
    }
  }

  void add_memory_choices(LayoutChoice choice) {
    const std::int64_t of_a_stage = config_.model.layers / (std::int64_t{choice.mesh.pipeline} * choice.chunks);
    const bool must_recompute = config_.model.mlp_chunk > 0 || config_.model.offload != Offload::kNone;
    const bool all_or_none = config_.model.offload != Offload::kNone || of_a_stage < 2;
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      if (recompute == Recompute::kNone && must_recompute) continue;
      choice.recompute = recompute;
      choice.recompute_layers = -1;
      add_zero_choices(choice);
      if (recompute == Recompute::kNone || all_or_none) continue;
      choice.recompute_layers = of_a_stage / 2;
      add_zero_choices(choice);
    }
  }

  void add_zero_choices(LayoutChoice choice) {
    for (choice.zero = 0; choice.zero <= (choice.mesh.replicas() > 1 ? 1 : 0); ++choice.zero)
      choices_.push_back(choice);
  }

  const Config& config_;
  Refusals& refused_;
  std::vector<LayoutChoice> choices_;
};

std::string_view name_of(Recompute recompute) {
  switch (recompute) {
    case Recompute::kNone: return "none";
    case Recompute::kSelective: return "selective";
    case Recompute::kFull: return "full";
  }
  return "";
}

}  // namespace

std::vector<LayoutChoice> layout_choices(const Config& config, int world, Refusals& refused) {
  Choices choices(config, refused);
  for (const std::int64_t pipeline : divisors(world))
    for (const std::int64_t data : divisors(world / pipeline))
      choices.add_mesh({.pipeline = static_cast<int>(pipeline),
                        .data = static_cast<int>(data),
                        .context = static_cast<int>(world / pipeline / data)});
  return choices.take();
}

Config with_layout(const Config& base, const LayoutChoice& choice) {
  Config config = base;
  config.parallel.pipeline = choice.mesh.pipeline;
  config.parallel.data = choice.mesh.data;
  config.parallel.context = choice.mesh.context;
  config.parallel.schedule = choice.schedule;
  config.parallel.chunks = choice.chunks;
  config.parallel.stages.clear();
  config.parallel.micro_batches = choice.micro_batches;
  config.parallel.context_scheme = choice.context_scheme;
  config.parallel.zero = choice.zero;
  config.model.recompute = choice.recompute;
  config.model.recompute_layers = choice.recompute_layers;
  return config;
}

ParallelLayout outline_of(const Config& config, const LayoutChoice& choice) {
  const int ranks = choice.mesh.pipeline;
  return {.mesh = choice.mesh,
          .micro_batches = choice.micro_batches,
          .sequences_each = config.data.global_batch / choice.mesh.data / choice.micro_batches,
          .schedule = {.name = choice.schedule,
                       .ranks = ranks,
                       .chunks = choice.chunks,
                       .micro_batches = static_cast<int>(choice.micro_batches),
                       .stage_of = outline_of(choice.schedule, ranks, choice.chunks).stage_of},
          .stages = cut_into_stages(with_layout(config, choice), ranks * choice.chunks)};
}

ScheduleOutline outline_of(const std::string& name, int ranks, int chunks) {
  // As many micro-batches as ranks suit every planner.
  const PipelineSchedule schedule =
      pipeline_planner(name).plan({.ranks = ranks, .micro_batches = ranks, .chunks = chunks});
  ScheduleOutline outline{.stage_of = schedule.stage_of,
                          .backward = has_halves(schedule) ? BackwardKind::kHalves : BackwardKind::kWhole,
                          .live = {}};
  for (int rank = 0; rank < ranks; ++rank) {
    std::vector<int>& live = outline.live.emplace_back();
    for (int chunk = 0; chunk < chunks; ++chunk) live.push_back(peak_live(schedule, rank, chunk));
  }
  return outline;
}

std::string to_yaml(const LayoutChoice& choice) {
  return fmt::format(
      "model:\n"
      "  recompute: {}\n"
      "  recompute_layers: {}\n"
      "parallel:\n"
      "  pipeline: {}\n"
      "  data: {}\n"
      "  context: {}\n"
      "  context_scheme: {}\n"
      "  schedule: {}\n"
      "  chunks: {}\n"
      "  stages: []\n"
      "  micro_batches: {}\n"
      "  zero: {}\n",
      name_of(choice.recompute), choice.recompute_layers, choice.mesh.pipeline, choice.mesh.data, choice.mesh.context,
      choice.context_scheme, choice.schedule, choice.chunks, choice.micro_batches, choice.zero);
}

}  // namespace longspan
