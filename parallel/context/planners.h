// The planners there are, for planner_list.cc alone: one function a file.
#pragma once

#include "parallel/context/planner.h"

namespace longspan {

const ContextPlanner& ring_planner();
const ContextPlanner& striped_planner();
const ContextPlanner& zigzag_planner();
const ContextPlanner& ulysses_planner();
const ContextPlanner& all_gather_planner();
const ContextPlanner& two_d_planner();

}  // namespace longspan
