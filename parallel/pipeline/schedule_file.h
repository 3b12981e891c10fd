// Schedule files: schedules that no planner makes, written by hand or by another program.
//
// A line a rank, its operations in order with commas between them, each a stage, a letter and a micro-batch: "0F0,0F1,
// 0B0,0B1". Letters: F forward, B whole backward, I input gradient, W weight gradient. Empty cells and blank lines are
// passed over, as is what follows a '#'. Stages count from 0 in order of depth; which rank has which is read off the
// lines.
#pragma once

#include <string>

#include "parallel/pipeline/pipeline_schedule.h"

namespace longspan {

std::string to_csv(const PipelineSchedule& schedule);

// `name` is the file's, for errors and as the schedule's name. Throws Error(kData) naming line and cell where it cannot
// be read, and what find_fault() says where it can but is not right. live_limit is what the schedule holds.
PipelineSchedule schedule_from_csv(const std::string& text, const std::string& name);

}  // namespace longspan
