// Striped attention (Brandon et al. 2023): token t lives on rank t mod P, so that under a causal mask every rank has
// the same work in every step.
#include <algorithm>

#include "parallel/context/planners.h"
#include "parallel/context/rotation.h"

namespace longspan {
namespace {

// Every document of a batch may add a rectangle to every pair of ranks; a plan beyond this many is no plan to run.
constexpr std::int64_t kMaxRectangles = std::int64_t{1} << 24;

class StripedPlanner final : public ContextPlanner {
 public:
  std::string_view name() const override { return "striped"; }
  std::string_view summary() const override {
    return "token t on rank t mod ranks, keys and values travel round; balanced under a causal mask";
  }

  Refusal why_unsupported(const ContextProblem& problem, int ranks) const override {
    std::int64_t rectangles = 0;
    for (std::size_t d = 0; d + 1 < problem.cu_seqlens.size(); ++d) {
      const std::int64_t spread = std::min<std::int64_t>(problem.cu_seqlens[d + 1] - problem.cu_seqlens[d], ranks);
      rectangles += spread * spread;
    }
    if (rectangles <= kMaxRectangles) return std::nullopt;
    return fmt::format("{} documents spread over {} ranks make {} rectangles, more than {}; use ring or fewer ranks",
                       problem.cu_seqlens.size() - 1, ranks, rectangles, kMaxRectangles);
  }

  std::vector<std::vector<TokenRun>> home(const ContextProblem& problem, int ranks) const override {
    std::vector<std::vector<TokenRun>> home(static_cast<std::size_t>(ranks));
    for (int rank = 0; rank < ranks; ++rank) {
      const std::int64_t count = (problem.num_tokens() - rank + ranks - 1) / ranks;
      if (count > 0) home[rank] = {{rank, ranks, count}};
    }
    return home;
  }

  ContextPlan plan(const ContextProblem& problem, int ranks) const override {
    return plan_rotation(name(), problem, home(problem, ranks));
  }
};

}  // namespace

const ContextPlanner& striped_planner() {
  static const StripedPlanner planner;
  return planner;
}

}  // namespace longspan
