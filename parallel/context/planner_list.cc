#include <fmt/ranges.h>

#include <array>

#include "parallel/context/auto.h"
#include "parallel/context/planners.h"
#include "parallel/context/problem.h"
#include "parallel/context/validator.h"

namespace longspan {

std::span<const ContextPlanner* const> context_planners() {
  static const std::array<const ContextPlanner*, 6> kPlanners = {&striped_planner(),    &zigzag_planner(),
                                                                 &ring_planner(),       &ulysses_planner(),
                                                                 &all_gather_planner(), &two_d_planner()};
  return kPlanners;
}

std::vector<std::string_view> context_scheme_names() {
  std::vector<std::string_view> names;
  for (const ContextPlanner* planner : context_planners()) names.push_back(planner->name());
  names.push_back(kAutoScheme);
  return names;
}

const ContextPlanner& context_planner(std::string_view name) {
  for (const ContextPlanner* planner : context_planners())
    if (planner->name() == name) return *planner;
  fail(ErrorKind::kUsage, "there is no context scheme '{}'; there are {}", name,
       fmt::join(context_scheme_names(), ", "));
}

LayerPlans make_layer_plans(std::string_view scheme, std::span<const ContextProblem> problems,
                            const ContextSite& site) {
  for (const ContextProblem& problem : problems) {
    if (const std::optional<std::string> reason = why_invalid(problem, site.ranks))
      fail(ErrorKind::kUsage, "cannot plan attention: {}", *reason);
    LS_CHECK(problem.cu_seqlens == problems.front().cu_seqlens, "layers of one batch have the same documents");
  }
  LayerPlans layers;
  if (scheme == kAutoScheme) {
    layers = choose_layer_plans(problems, site);
  } else {
    const ContextPlanner& planner = context_planner(scheme);
    for (const ContextProblem& problem : problems) {
      if (const Refusal refusal = planner.why_unsupported(problem, site))
        fail(ErrorKind::kUnsupported, "context scheme {}: {}", scheme, *refusal);
      layers.plans.push_back(planner.plan(problem, site));
    }
  }
  for (const ContextPlan& plan : layers.plans) {
    const std::optional<std::string> fault = find_fault(plan);
    LS_CHECK(!fault, "planner {} over {} ranks: {}", scheme, site.ranks, *fault);
    LS_CHECK(plan.home == layers.plans.front().home, "{} gives layers different homes", scheme);
  }
  return layers;
}

ContextPlan make_context_plan(std::string_view scheme, const ContextProblem& problem, const ContextSite& site) {
  return std::move(make_layer_plans(scheme, {&problem, 1}, site).plans.front());
}

}  // namespace longspan
