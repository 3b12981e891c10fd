// Proves a pipeline schedule right before anything runs, from the schedule alone.
#pragma once

#include <optional>
#include <string>

#include "parallel/pipeline/pipeline_schedule.h"

namespace longspan {

// nullopt: right. Otherwise one sentence that names rank and operation: a stage that no rank or two have; a forward or
// a backward that is missing or done twice; one that comes before what it needs on its own rank; more activations held
// than live_limit; ranks that would wait for each other for ever.
std::optional<std::string> find_fault(const PipelineSchedule& schedule);

}  // namespace longspan
