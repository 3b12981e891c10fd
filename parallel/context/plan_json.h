// Plan files (longspan-context-plan, version 1): what other programs read to check or draw a plan.
#pragma once

#include <string>

#include "parallel/context/context_plan.h"

namespace longspan {

std::string to_json(const ContextPlan& plan);
// Throws Error(kData) naming the field that is wrong.
ContextPlan context_plan_from_json(const std::string& text);

}  // namespace longspan
