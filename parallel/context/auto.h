// The scheme auto: for the layers of one batch it chooses one layout of the tokens, and for each layer and direction
// the way to move them that is predicted to take least time at the site.
#pragma once

#include "parallel/context/planner.h"

namespace longspan {

// Plans, not yet proved, and why these. Schemes that refuse the problem are left out; at least ring never does.
LayerPlans choose_layer_plans(std::span<const ContextProblem> problems, const ContextSite& site);

}  // namespace longspan
