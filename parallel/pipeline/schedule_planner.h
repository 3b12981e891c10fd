// Pipeline planners: pure functions from the size of a pipeline to a schedule, in an explicit list.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/pipeline/pipeline_schedule.h"

namespace longspan {

struct PipelineShape {
  int ranks = 1;
  int micro_batches = 1;  // a step, of one pipeline
  int chunks = 1;         // stages a rank
};

class PipelinePlanner {
 public:
  virtual ~PipelinePlanner() = default;
  virtual std::string_view name() const = 0;      // as in parallel.schedule
  virtual std::string_view summary() const = 0;   // one line for --help and docs
  virtual int usual_chunks() const { return 1; }  // where parallel.chunks is auto
  // In words, with what would do instead.
  virtual std::optional<std::string> why_unsupported(const PipelineShape& shape) const = 0;
  virtual PipelineSchedule plan(const PipelineShape& shape) const = 0;
};

std::span<const PipelinePlanner* const> pipeline_planners();
// Throws Error(kUsage) listing the names there are.
const PipelinePlanner& pipeline_planner(std::string_view name);

// Proved right. Throws Error(kUsage) for a shape that makes no sense or an unknown name, Error(kUnsupported) where the
// planner refuses.
PipelineSchedule make_pipeline_schedule(std::string_view planner, const PipelineShape& shape);

// One a file, for schedule_list.cc alone.
const PipelinePlanner& gpipe_planner();
const PipelinePlanner& one_f_one_b_planner();
const PipelinePlanner& interleaved_planner();
const PipelinePlanner& zero_bubble_planner();
const PipelinePlanner& zbv_planner();

}  // namespace longspan
