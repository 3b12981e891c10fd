// Ulysses (Jacobs et al. 2023): tokens are contiguous outside attention; inside, each rank has all tokens of its share
// of the heads. Any number of heads serves: ranks share a head by queries where they are more than heads, and a
// key/value head goes once to each rank that has use for it.
#include "parallel/context/planners.h"
#include "parallel/context/rotation.h"

namespace longspan {
namespace {

// A rank's heads come in so many lots, each under the tasks of the one before.
constexpr int kLanes = 4;

class UlyssesPlanner final : public ContextPlanner {
 public:
  std::string_view name() const override { return "ulysses"; }
  std::string_view summary() const override {
    return "heads shared out, every rank sees all tokens of its heads; few bytes with many heads or ranks";
  }
  Refusal why_unsupported(const ContextProblem& problem, const ContextSite& site) const override {
    return why_too_many_rectangles(problem, home(problem, site), site.ranks);
  }
  Home home(const ContextProblem& problem, const ContextSite& site) const override {
    return contiguous_home(problem, site.ranks);
  }
  ContextPlan plan(const ContextProblem& problem, const ContextSite& site) const override {
    Rotation rotation = make_rotation(name(), {1, site.ranks}, problem, site);
    rotation.lanes = head_lanes(problem, site.ranks, kLanes);
    return plan_rotation(rotation, problem, home(problem, site));
  }
};

}  // namespace

const ContextPlanner& ulysses_planner() {
  static const UlyssesPlanner planner;
  return planner;
}

}  // namespace longspan
