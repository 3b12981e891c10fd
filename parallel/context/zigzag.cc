// Zigzag attention (of ring-flash-attention, Megatron's default): each rank has an early and a late chunk of every
// document, so that under a causal mask work is even and rectangles are few and whole.
#include "parallel/context/planners.h"
#include "parallel/context/rotation.h"

namespace longspan {

const ContextPlanner& zigzag_planner() {
  static const RotatingPlanner planner(
      "zigzag", "an early and a late chunk of each document on every rank, keys and values travel round; balanced",
      zigzag_home);
  return planner;
}

}  // namespace longspan
