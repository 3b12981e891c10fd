// Plan report: what a context plan means for each rank, as text for people.
#pragma once

#include <string>

#include "parallel/context/context_plan.h"
#include "parallel/context/wire_desc.h"

namespace longspan {

// Tokens, share of the work, bytes sent for one layer in each direction and buffers, of every rank; from 17 ranks on
// their least, mean and most instead. Then the balance of totals and of steps. Lines end with a newline.
std::string describe_plan(const ContextPlan& plan, const WireDesc& desc);

}  // namespace longspan
