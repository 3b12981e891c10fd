// Plan cost: how long one direction of a plan would take at a site, step by step, by a simple model of ranks and links.
#pragma once

#include "parallel/context/context_plan.h"
#include "parallel/context/context_site.h"

namespace longspan {

// Seconds from the start to the end of the slowest rank; its own computation; and what was not hidden under it.
struct PlanCost {
  double seconds = 0;
  double compute_seconds = 0;  // of the busiest rank
  double exposed_seconds() const { return seconds - compute_seconds; }
};

// Each rank computes its tasks at the site's rate; what it sends in a step, and what it receives, share its links,
// which are busy from when both ends have posted. A rank goes on when its tasks are done and what it waits for has
// arrived: operands posted in this step, results posted in the step before. Operations are 2 (D + Dv) a visible pair
// and head forward, 2 (3 D + 2 Dv) backward.
PlanCost price(const ContextPlan& plan, const PlanDirection& direction, const ContextSite& site);

}  // namespace longspan
