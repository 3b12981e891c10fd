// Rotation: plans in which queries stay at home and blocks of keys and values travel from rank to rank. What a ring
// over any layout of the tokens shares; a planner of the family adds its layout.
#pragma once

#include <string_view>
#include <vector>

#include "parallel/context/context_plan.h"

namespace longspan {

// In step s rank r works on the keys and values of rank r-s (mod ranks). A block goes from a rank to the next one if
// both have use for it; where a rank has none the chain ends, and the owner itself starts the next one, so that nobody
// receives what it has no use for. What travels is the stretch that ranks further along the chain need. In backward,
// gradients of the block follow it along each chain, every rank adding its share, and go home from its end.
ContextPlan plan_rotation(std::string_view scheme, const ContextProblem& problem,
                          std::vector<std::vector<TokenRun>> home);

}  // namespace longspan
