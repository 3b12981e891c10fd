#include <fmt/ranges.h>

#include <array>

#include "kernels/core/error.h"
#include "parallel/pipeline/schedule_planner.h"
#include "parallel/pipeline/schedule_validator.h"

namespace longspan {

std::span<const PipelinePlanner* const> pipeline_planners() {
  static const std::array<const PipelinePlanner*, 5> kPlanners = {
      &one_f_one_b_planner(), &gpipe_planner(), &interleaved_planner(), &zero_bubble_planner(), &zbv_planner()};
  return kPlanners;
}

const PipelinePlanner& pipeline_planner(std::string_view name) {
  std::vector<std::string_view> names;
  for (const PipelinePlanner* planner : pipeline_planners()) {
    if (planner->name() == name) return *planner;
    names.push_back(planner->name());
  }
  fail(ErrorKind::kUsage, "there is no pipeline schedule '{}'; there are {}", name, fmt::join(names, ", "));
}

PipelineSchedule make_pipeline_schedule(std::string_view planner_name, const PipelineShape& shape) {
  const PipelinePlanner& planner = pipeline_planner(planner_name);
  LS_REQUIRE(kUsage, shape.ranks >= 1 && shape.micro_batches >= 1 && shape.chunks >= 1,
             "a pipeline of {} ranks, {} micro-batches, {} chunks: give at least one of each", shape.ranks,
             shape.micro_batches, shape.chunks);
  if (const std::optional<std::string> reason = planner.why_unsupported(shape))
    fail(ErrorKind::kUnsupported, "pipeline schedule {}: {}", planner_name, *reason);
  PipelineSchedule schedule = planner.plan(shape);
  const std::optional<std::string> fault = find_fault(schedule);
  LS_CHECK(!fault, "pipeline schedule {} of {} ranks, {} micro-batches, {} chunks: {}", planner_name, shape.ranks,
           shape.micro_batches, shape.chunks, *fault);
  return schedule;
}

}  // namespace longspan
