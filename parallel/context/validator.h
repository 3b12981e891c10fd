// Proves a plan right before anything runs, from the plan alone.
#pragma once

#include <optional>
#include <string>

#include "parallel/context/context_plan.h"

namespace longspan {

// nullopt: right. Otherwise one sentence that names direction, rank, step and tokens: a token owned not once; a
// visible (query, key, head) computed not exactly once, or an invisible one computed; an operand not at hand; a send
// of what is not there; a result that never reaches its owner; receives that cannot meet their sends in order.
// Costs time in the number of tasks, not in tokens squared.
std::optional<std::string> find_fault(const ContextPlan& plan);

}  // namespace longspan
