// The planners there are, for planner_list.cc alone: one function a file.
#pragma once

#include "parallel/context/planner.h"

namespace longspan {

const ContextPlanner& ring_planner();
const ContextPlanner& striped_planner();

}  // namespace longspan
