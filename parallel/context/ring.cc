// Ring attention (Liu, Zaharia & Abbeel 2023): contiguous shards, keys and values travel round. Under a causal mask the
// last rank has almost twice the mean work; for full masks and for windows it is the scheme that sends least.
#include "parallel/context/planners.h"
#include "parallel/context/rotation.h"

namespace longspan {
namespace {

class RingPlanner final : public ContextPlanner {
 public:
  std::string_view name() const override { return "ring"; }
  std::string_view summary() const override {
    return "contiguous shards, keys and values travel round; sends least with windows and many documents";
  }
  Refusal why_unsupported(const ContextProblem&, int) const override { return std::nullopt; }

  std::vector<std::vector<TokenRun>> home(const ContextProblem& problem, int ranks) const override {
    std::vector<std::vector<TokenRun>> home(static_cast<std::size_t>(ranks));
    std::int64_t first = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const std::int64_t end = problem.num_tokens() * (rank + 1) / ranks;
      if (end > first) home[rank] = {{first, 1, end - first}};
      first = end;
    }
    return home;
  }

  ContextPlan plan(const ContextProblem& problem, int ranks) const override {
    return plan_rotation(name(), problem, home(problem, ranks));
  }
};

}  // namespace

const ContextPlanner& ring_planner() {
  static const RingPlanner planner;
  return planner;
}

}  // namespace longspan
