// Striped attention (Brandon et al. 2023): token t lives on rank t mod P, so that under a causal mask every rank has
// the same work in every step.
#include "parallel/context/planners.h"
#include "parallel/context/rotation.h"

namespace longspan {

const ContextPlanner& striped_planner() {
  static const RotatingPlanner planner(
      "striped", "token t on rank t mod ranks, keys and values travel round; balanced under a causal mask",
      striped_home);
  return planner;
}

}  // namespace longspan
