#include "trainer/forecast/layout_search.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/core/error.h"
#include "parallel/context/planner.h"
#include "parallel/pipeline/schedule_planner.h"
#include "trainer/forecast/layout_memory.h"

namespace longspan {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

struct Candidate {
  LayoutChoice choice;
  double least_seconds = 0;
};

bool is_better(const FoundLayout& a, const FoundLayout& b) {
  if (a.step.step_seconds != b.step.step_seconds) return a.step.step_seconds < b.step.step_seconds;
  return a.memory_bytes < b.memory_bytes;
}

// Ulysses over more ranks than heads gives each head to several all the same. Of very many ranks, plans in which all
// send to all take seconds each to make.
bool is_left_out(std::string_view scheme, int context, std::int64_t heads) {
  if (scheme == "ulysses") return context > heads;
  return context > 256 && (scheme == "all_gather" || scheme == "two_d");
}

class Search {
 public:
  Search(const Config& config, const Machine& machine, const SearchRequest& request)
      : config_(config),
        request_(request),
        forecaster_(config, machine, request.place),
        memory_(config, request.place.num_threads, request.place.ranks_per_node, request.place.device) {}

  SearchResult run() {
    std::vector<Candidate> candidates;
    for (const LayoutChoice& choice : layout_choices(config_, request_.world, result_.refused))
      candidates.push_back({choice, least_seconds(choice)});
    result_.num_layouts = static_cast<std::int64_t>(candidates.size());
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.least_seconds < b.least_seconds; });
    for (const Candidate& candidate : candidates) consider(candidate);
    return std::move(result_);
  }

 private:
  // A layout that takes at least so long cannot be among the best.
  bool is_slower(double least_seconds) const {
    return result_.best.size() >= request_.keep && least_seconds > result_.best.back().step.step_seconds;
  }

  // Those whose attention takes least for a micro-batch of one sequence.
  const std::vector<std::string>& schemes_for(int context) {
    const auto known = schemes_.find(context);
    if (known != schemes_.end()) return known->second;
    std::vector<std::string>& schemes = schemes_[context];
    if (context == 1) return schemes = {config_.parallel.context_scheme};
    std::vector<std::pair<double, std::string>> by_time;
    for (const ContextPlanner* planner : context_planners()) {
      const std::string name(planner->name());
      if (is_left_out(name, context, config_.model.heads)) continue;
      Config config = config_;
      config.parallel.context_scheme = name;
      const ParallelLayout one{
          .mesh = {.data = request_.world / context, .context = context}, .schedule = {}, .stages = {}};
      try {
        by_time.emplace_back(forecaster_.context_time(config, one).seconds(), name);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kUnsupported) throw;
      }
    }
    std::stable_sort(by_time.begin(), by_time.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (std::size_t i = 0; i < std::min(by_time.size(), request_.schemes); ++i) schemes.push_back(by_time[i].second);
    return schemes;
  }

  std::int64_t sequences_each(const LayoutChoice& choice) const {
    return config_.data.global_batch / choice.mesh.data / choice.micro_batches;
  }

  // The cuts and lists of stages of a pipeline do not depend on the rest of a choice.
  ParallelLayout outline(const LayoutChoice& choice) {
    const std::tuple key{choice.schedule, choice.mesh.pipeline, choice.chunks};
    auto known = outlines_.find(key);
    if (known == outlines_.end())
      known =
          outlines_
              .emplace(key,
                       std::pair(longspan::outline_of(config_, choice),
                                 longspan::outline_of(choice.schedule, choice.mesh.pipeline, choice.chunks).backward))
              .first;
    ParallelLayout layout = known->second.first;
    layout.mesh = choice.mesh;
    layout.micro_batches = choice.micro_batches;
    layout.sequences_each = sequences_each(choice);
    layout.schedule.micro_batches = static_cast<int>(choice.micro_batches);
    return layout;
  }
  BackwardKind backward_of(const LayoutChoice& choice) const {
    return outlines_.at({choice.schedule, choice.mesh.pipeline, choice.chunks}).second;
  }

  double least_seconds(const LayoutChoice& choice) {
    const ParallelLayout layout = outline(choice);
    return forecaster_.least_seconds(with_layout(config_, choice), layout, backward_of(choice),
                                     forecaster_.ideal_context(layout));
  }

  bool fits(std::int64_t num_bytes) const {
    return request_.memory_bytes <= 0 || static_cast<double>(num_bytes) <= request_.memory_bytes;
  }

  void consider(const Candidate& candidate) {
    if (is_slower(candidate.least_seconds)) return void(++result_.num_slower);
    const ParallelLayout layout = outline(candidate.choice);
    // What any scheme needs.
    if (!fits(memory_.least_bytes(candidate.choice, layout, {forecaster_.ideal_context(layout).tokens, 0})))
      return refuse_memory();
    LayoutChoice choice = candidate.choice;
    bool any_fits = false;
    for (const std::string& scheme : schemes_for(choice.mesh.context)) {
      choice.context_scheme = scheme;
      any_fits |= forecast(choice, layout);
    }
    if (!any_fits) refuse_memory();
  }

  // Whether it fits.
  bool forecast(const LayoutChoice& choice, ParallelLayout layout) {
    const Config config = with_layout(config_, choice);
    if (is_slower(
            forecaster_.least_seconds(config, layout, backward_of(choice), forecaster_.context_time(config, layout))))
      return true;
    const PlannedSchedule& planned = planned_schedule(choice, layout);
    layout.schedule = planned.schedule;
    layout.hand_overs = planned.hand_overs;
    // Time before memory: it takes less to find out.
    FoundLayout found{choice, forecaster_.forecast(config, layout), 0};
    if (is_slower(found.step.step_seconds)) return true;
    found.memory_bytes = memory_.most_bytes(choice, layout, forecaster_.attention_need(config, layout));
    if (!fits(found.memory_bytes)) return false;
    ++result_.num_forecast;
    found.step.schedule = {};
    found.step.timeline = {};
    const auto place = std::upper_bound(result_.best.begin(), result_.best.end(), found, is_better);
    result_.best.insert(place, std::move(found));
    if (result_.best.size() > request_.keep) result_.best.pop_back();
    return true;
  }

  void refuse_memory() {
    ++result_.refused[fmt::format("layouts that need more than {:.1f} GiB a rank", request_.memory_bytes / kGib)];
  }

  struct PlannedSchedule {
    PipelineSchedule schedule;
    std::vector<int> hand_overs;
  };
  // Unproved: the planners are, over all sizes.
  const PlannedSchedule& planned_schedule(const LayoutChoice& choice, const ParallelLayout& outline) {
    const std::tuple key{choice.schedule, choice.mesh.pipeline, choice.chunks, choice.micro_batches};
    const auto known = schedules_.find(key);
    if (known != schedules_.end()) return known->second;
    ParallelLayout layout = outline;
    layout.schedule = pipeline_planner(choice.schedule)
                          .plan({.ranks = choice.mesh.pipeline,
                                 .micro_batches = static_cast<int>(choice.micro_batches),
                                 .chunks = choice.chunks});
    plan_hand_overs(layout);
    return schedules_[key] = {std::move(layout.schedule), std::move(layout.hand_overs)};
  }

  const Config& config_;
  const SearchRequest& request_;
  StepForecaster forecaster_;
  LayoutMemory memory_;
  std::map<int, std::vector<std::string>> schemes_;  // by ranks of a context group
  std::map<std::tuple<std::string, int, int>, std::pair<ParallelLayout, BackwardKind>> outlines_;
  std::map<std::tuple<std::string, int, int, std::int64_t>, PlannedSchedule> schedules_;
  SearchResult result_;
};

std::string recompute_text(const LayoutChoice& choice) {
  if (choice.recompute == Recompute::kNone) return "none";
  const std::string_view name = choice.recompute == Recompute::kFull ? "full" : "selective";
  return choice.recompute_layers < 0 ? std::string(name) : fmt::format("{} {}", name, choice.recompute_layers);
}

}  // namespace

SearchResult search_layouts(const Config& config, const Machine& machine, const SearchRequest& request) {
  LS_REQUIRE(kUsage, request.world >= 1 && request.keep >= 1 && request.schemes >= 1,
             "a search over {} ranks for {} layouts by {} schemes: give at least one of each", request.world,
             request.keep, request.schemes);
  return Search(config, machine, request).run();
}

std::string describe(const SearchResult& result) {
  std::string text =
      fmt::format("{:>8} {:>5} {:>7} {:<10} {:<14} {:>6} {:<14} {:>4} | {:>9} {:>10} {:>6} {:>6} {:>10} {:>8}\n",
                  "pipeline", "data", "context", "scheme", "schedule", "micro", "recompute", "zero", "step s",
                  "tokens/s", "MFU %", "idle %", "exposed ms", "GiB");
  for (const FoundLayout& found : result.best) {
    const LayoutChoice& choice = found.choice;
    const StepForecast& step = found.step;
    text += fmt::format(
        "{:>8} {:>5} {:>7} {:<10} {:<14} {:>6} {:<14} {:>4} | {:>9.4g} {:>10.4g} {:>6} {:>6.1f} {:>10.4g} {:>8.2f}\n",
        choice.mesh.pipeline, choice.mesh.data, choice.mesh.context,
        choice.mesh.context == 1 ? "-" : choice.context_scheme,
        choice.mesh.pipeline == 1 ? "-"
        : choice.chunks == 1      ? choice.schedule
                                  : fmt::format("{} x{}", choice.schedule, choice.chunks),
        choice.micro_batches, recompute_text(choice), choice.zero, step.step_seconds, step.tokens_per_second(),
        step.peak > 0 ? fmt::format("{:.1f}", 100 * step.mfu()) : "n/a", 100 * step.bubble,
        1e3 * (step.exposed_data + step.exposed_pipeline + step.exposed_context),
        static_cast<double>(found.memory_bytes) / kGib);
  }
  text += fmt::format(
      "{} layouts fit batch and depth, each with the best context schemes: {} forecast, {} slower at best; refused:\n",
      result.num_layouts, result.num_forecast, result.num_slower);
  for (const auto& [reason, count] : result.refused) text += fmt::format("  {:>8} {}\n", count, reason);
  if (result.refused.empty()) text += "  none\n";
  return text;
}

}  // namespace longspan
