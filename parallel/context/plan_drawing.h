// Plan drawing: a context plan as a picture for people who have never seen one.
#pragma once

#include <string>

#include "parallel/context/context_plan.h"
#include "parallel/context/wire_desc.h"

namespace longspan {

// An SVG of both directions: for every rank which tokens are its own, what it computes in each step and whose data that
// is on, what it sends and to whom; then balance and a legend. Everything in full up to 16 ranks and steps; beyond that
// work as shades, of up to 32 x 32 lots of ranks and steps, so that the file stays below half a megabyte. The same plan
// gives the same text. Numbers of bytes are for elements of desc's sizes.
std::string draw_plan(const ContextPlan& plan, const WireDesc& desc);

}  // namespace longspan
