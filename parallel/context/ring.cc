// Ring attention (Liu, Zaharia & Abbeel 2023): contiguous shards, keys and values travel round. Under a causal mask the
// last rank has almost twice the mean work; for full masks and for windows it is the scheme that sends least.
#include "parallel/context/planners.h"
#include "parallel/context/rotation.h"

namespace longspan {

const ContextPlanner& ring_planner() {
  static const RotatingPlanner planner(
      "ring", "contiguous shards, keys and values travel round; sends least with windows and many documents",
      contiguous_home);
  return planner;
}

}  // namespace longspan
