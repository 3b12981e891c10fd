#include "trainer/forecast/step_drawing.h"

#include <nlohmann/json.hpp>

#include "parallel/pipeline/timeline_drawing.h"

namespace longspan {
namespace {

using Json = nlohmann::ordered_json;

enum Track : std::uint8_t { kComputes, kInBackground };

Json name_event(const char* what, int process, int track, const std::string& name) {
  return {{"name", what}, {"ph", "M"}, {"pid", process}, {"tid", track}, {"args", {{"name", name}}}};
}

Json slice(const std::string& name, int process, Track track, const Stretch& stretch, const Json& args) {
  return {{"name", name},
          {"ph", "X"},
          {"pid", process},
          {"tid", static_cast<int>(track)},
          {"ts", 1e6 * stretch.begin},
          {"dur", 1e6 * stretch.seconds()},
          {"args", args}};
}

}  // namespace

std::string draw_step(const StepForecast& step) {
  TimelineDrawing drawing{
      .subtitle = fmt::format("{:.4g} s a step, {:.4g} tokens/s over {} rank{}; {:.1f} % of the pipeline's time idle",
                              step.step_seconds, step.tokens_per_second(), step.world, step.world == 1 ? "" : "s",
                              100 * step.bubble),
      .unit = TimelineUnit::kSeconds};
  using Place = TimelineExtra::Place;
  const int replicas = step.world / step.schedule.ranks;
  for (int rank = 0; rank < step.schedule.ranks; ++rank) {
    const Stretch& sum = step.sums[static_cast<std::size_t>(rank)];
    if (sum.seconds() > 0) drawing.extras.push_back({rank, Place::kUnderRow, "sums of gradients", sum.begin, sum.end});
    drawing.extras.push_back({rank, Place::kRow, "optimizer", step.update.begin, step.update.end});
    if (step.gather.seconds() > 0)
      drawing.extras.push_back({rank, Place::kUnderRow, "weights gathered", step.gather.begin, step.gather.end});
    drawing.row_names.push_back(replicas == 1 ? fmt::format("rank {}", rank)
                                              : fmt::format("{} … {}", rank * replicas, (rank + 1) * replicas - 1));
  }
  return draw_timeline(step.schedule, step.timeline, drawing);
}

std::string trace_step(const StepForecast& step) {
  std::string text = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
  bool first = true;
  const auto add = [&](const Json& event) {
    text += (first ? "" : ",\n") + event.dump();
    first = false;
  };
  for (int rank = 0; rank < step.schedule.ranks; ++rank) {
    const auto at = static_cast<std::size_t>(rank);
    add(name_event("process_name", rank, 0, fmt::format("pipeline {}", rank)));
    add(name_event("thread_name", rank, kComputes, "computes"));
    add(name_event("thread_name", rank, kInBackground, "sums and gathers"));
    for (const Timeline::Span& span : step.timeline.spans[at])
      add(slice(describe(span.op, step.schedule.chunks), rank, kComputes, {span.begin, span.end},
                {{"stage", step.schedule.stage_of[at][static_cast<std::size_t>(span.op.chunk)]},
                 {"micro_batch", span.op.micro_batch}}));
    if (step.sums[at].seconds() > 0) add(slice("gradients", rank, kInBackground, step.sums[at], Json::object()));
    add(slice("optimizer", rank, kComputes, step.update, Json::object()));
    if (step.gather.seconds() > 0) add(slice("weights", rank, kInBackground, step.gather, Json::object()));
  }
  return text + "\n]}\n";
}

}  // namespace longspan
