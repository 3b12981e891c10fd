// Planners: pure functions from a problem to a plan, in an explicit list.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/context/context_plan.h"
#include "parallel/context/context_site.h"

namespace longspan {

class ContextPlanner {
 public:
  virtual ~ContextPlanner() = default;
  virtual std::string_view name() const = 0;     // as in parallel.context_scheme
  virtual std::string_view summary() const = 0;  // one line for --help and docs
  virtual Refusal why_unsupported(const ContextProblem& problem, const ContextSite& site) const = 0;
  // Which tokens live where: depends on the documents and ranks only, never on heads or windows, so that layers with
  // different masks share one layout.
  virtual std::vector<std::vector<TokenRun>> home(const ContextProblem& problem, const ContextSite& site) const = 0;
  virtual ContextPlan plan(const ContextProblem& problem, const ContextSite& site) const = 0;
};

std::span<const ContextPlanner* const> context_planners();
// Throws Error(kUsage) listing the names there are.
const ContextPlanner& context_planner(std::string_view name);

// The scheme that chooses among the planners; see auto.h.
inline constexpr std::string_view kAutoScheme = "auto";
// All values of parallel.context_scheme: the planners' names and auto.
std::vector<std::string_view> context_scheme_names();

// Plans for layers of one batch, which differ in heads and masks but share one home, each proved right.
struct LayerPlans {
  std::vector<ContextPlan> plans;  // one a problem
  std::string why;                 // what auto weighed, as lines of text; empty for a scheme that was named
};
// Throws Error(kUsage) for a problem that makes no sense or an unknown scheme, Error(kUnsupported) where the scheme
// refuses. All problems have the same documents.
LayerPlans make_layer_plans(std::string_view scheme, std::span<const ContextProblem> problems, const ContextSite& site);
// The same for one.
ContextPlan make_context_plan(std::string_view scheme, const ContextProblem& problem, const ContextSite& site);

}  // namespace longspan
