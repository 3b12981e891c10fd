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

// Slots a rank needs at once for keys and values that live elsewhere, and for their gradients, in its worst step.
struct PeakBuffers {
  std::int64_t kv_tokens = 0;  // tokens x kv heads resident at once, own ones not counted
  std::int64_t dkv_tokens = 0;
};
PeakBuffers peak_buffers(const ContextPlan& plan, const PlanDirection& direction, int rank);

}  // namespace longspan
