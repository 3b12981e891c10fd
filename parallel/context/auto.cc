#include "parallel/context/auto.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "parallel/context/plan_cost.h"

namespace longspan {
namespace {

// One planner's plan of one layer, with what its directions are predicted to take.
struct Candidate {
  ContextPlan plan;
  PlanCost forward, backward;
};

// Planners with one layout, and what each makes of each problem (absent where it refuses).
struct Layout {
  std::vector<std::vector<TokenRun>> home;
  std::vector<std::string_view> schemes;
  std::vector<std::vector<std::optional<Candidate>>> candidates;  // [problem][scheme]
};

template <class Cost>
const Candidate& cheapest(const std::vector<std::optional<Candidate>>& candidates, Cost cost_of) {
  const Candidate* best = nullptr;
  for (const std::optional<Candidate>& candidate : candidates)
    if (candidate && (best == nullptr || cost_of(*candidate) < cost_of(*best))) best = &*candidate;
  LS_CHECK(best != nullptr, "a layout without a scheme for a layer");
  return *best;
}

const Candidate& cheapest_forward(const std::vector<std::optional<Candidate>>& candidates) {
  return cheapest(candidates, [](const Candidate& candidate) { return candidate.forward.seconds; });
}
const Candidate& cheapest_backward(const std::vector<std::optional<Candidate>>& candidates) {
  return cheapest(candidates, [](const Candidate& candidate) { return candidate.backward.seconds; });
}

std::vector<Layout> price_all(std::span<const ContextProblem> problems, const ContextSite& site) {
  std::vector<Layout> layouts;
  for (const ContextPlanner* planner : context_planners()) {
    std::vector<std::optional<Candidate>> of_problems;
    for (const ContextProblem& problem : problems) {
      std::optional<Candidate>& candidate = of_problems.emplace_back();
      if (planner->why_unsupported(problem, site)) continue;
      candidate.emplace(Candidate{planner->plan(problem, site), {}, {}});
      candidate->forward = price(candidate->plan, candidate->plan.forward, site);
      candidate->backward = price(candidate->plan, candidate->plan.backward, site);
    }
    const auto any = std::find_if(of_problems.begin(), of_problems.end(), [](const auto& c) { return c.has_value(); });
    if (any == of_problems.end()) continue;
    auto layout = std::find_if(layouts.begin(), layouts.end(),
                               [&](const Layout& other) { return other.home == (*any)->plan.home; });
    if (layout == layouts.end())
      layout = layouts.insert(
          layouts.end(), {(*any)->plan.home, {}, std::vector<std::vector<std::optional<Candidate>>>(problems.size())});
    layout->schemes.push_back(planner->name());
    for (std::size_t i = 0; i < problems.size(); ++i) layout->candidates[i].push_back(std::move(of_problems[i]));
  }
  return layouts;
}

// Predicted seconds of all layers with the best scheme for each direction of each; infinite where a layer has none.
double seconds_of(const Layout& layout) {
  double seconds = 0;
  for (const auto& of_problem : layout.candidates) {
    if (std::none_of(of_problem.begin(), of_problem.end(), [](const auto& c) { return c.has_value(); }))
      return std::numeric_limits<double>::infinity();
    seconds += cheapest_forward(of_problem).forward.seconds + cheapest_backward(of_problem).backward.seconds;
  }
  return seconds;
}

std::string describe(const ContextProblem& problem) {
  return fmt::format("{}, {}/{} heads",
                     !problem.causal      ? std::string("full mask")
                     : problem.window > 0 ? fmt::format("window {}", problem.window)
                                          : std::string("causal"),
                     problem.heads, problem.kv_heads);
}

std::string explain(std::span<const ContextProblem> problems, const std::vector<Layout>& layouts, const Layout& best) {
  std::string text;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    const Candidate& forward = cheapest_forward(best.candidates[i]);
    const Candidate& backward = cheapest_backward(best.candidates[i]);
    text += fmt::format("auto: {}: forward {}, backward {}; predicted ms forward + backward (not hidden):",
                        describe(problems[i]), forward.plan.scheme, backward.plan.scheme);
    for (const Layout& layout : layouts)
      for (std::size_t s = 0; s < layout.schemes.size(); ++s) {
        const std::optional<Candidate>& candidate = layout.candidates[i][s];
        if (!candidate) continue;
        text += fmt::format(" {} {:.3g} ({:.2g})", layout.schemes[s],
                            1e3 * (candidate->forward.seconds + candidate->backward.seconds),
                            1e3 * (candidate->forward.exposed_seconds() + candidate->backward.exposed_seconds()));
      }
    text += "\n";
  }
  return text;
}

}  // namespace

LayerPlans choose_layer_plans(std::span<const ContextProblem> problems, const ContextSite& site) {
  const std::vector<Layout> layouts = price_all(problems, site);
  const auto best = std::min_element(layouts.begin(), layouts.end(),
                                     [](const Layout& a, const Layout& b) { return seconds_of(a) < seconds_of(b); });
  LS_CHECK(best != layouts.end(), "no scheme plans {} problems over {} ranks", problems.size(), site.ranks);
  LayerPlans chosen{{}, explain(problems, layouts, *best)};
  for (const auto& of_problem : best->candidates) {
    const Candidate& forward = cheapest_forward(of_problem);
    const Candidate& backward = cheapest_backward(of_problem);
    ContextPlan plan = forward.plan;
    if (backward.plan.scheme != plan.scheme) plan.scheme += "+" + backward.plan.scheme;
    plan.backward = backward.plan.backward;
    chosen.plans.push_back(std::move(plan));
  }
  return chosen;
}

}  // namespace longspan
