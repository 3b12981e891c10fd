#include <fmt/ranges.h>

#include <array>

#include "parallel/context/planners.h"
#include "parallel/context/problem.h"
#include "parallel/context/validator.h"

namespace longspan {

std::span<const ContextPlanner* const> context_planners() {
  static const std::array<const ContextPlanner*, 2> kPlanners = {&striped_planner(), &ring_planner()};
  return kPlanners;
}

const ContextPlanner& context_planner(std::string_view name) {
  std::vector<std::string_view> names;
  for (const ContextPlanner* planner : context_planners()) {
    if (planner->name() == name) return *planner;
    names.push_back(planner->name());
  }
  fail(ErrorKind::kUsage, "there is no context scheme '{}'; there are {}", name, fmt::join(names, ", "));
}

ContextPlan make_context_plan(std::string_view scheme, const ContextProblem& problem, int ranks) {
  const ContextPlanner& planner = context_planner(scheme);
  if (const std::optional<std::string> reason = why_invalid(problem, ranks))
    fail(ErrorKind::kUsage, "cannot plan attention: {}", *reason);
  if (const Refusal refusal = planner.why_unsupported(problem, ranks))
    fail(ErrorKind::kUnsupported, "context scheme {}: {}", scheme, *refusal);
  ContextPlan plan = planner.plan(problem, ranks);
  const std::optional<std::string> fault = find_fault(plan);
  LS_CHECK(!fault, "planner {} over {} ranks: {}", scheme, ranks, *fault);
  return plan;
}

}  // namespace longspan
