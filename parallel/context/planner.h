// Planners: pure functions from a problem to a plan, in an explicit list.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "parallel/context/context_plan.h"

namespace longspan {

class ContextPlanner {
 public:
  virtual ~ContextPlanner() = default;
  virtual std::string_view name() const = 0;     // as in parallel.context_scheme
  virtual std::string_view summary() const = 0;  // one line for --help and docs
  virtual Refusal why_unsupported(const ContextProblem& problem, int ranks) const = 0;
  // Which tokens live where: depends on the documents and ranks only, never on heads or windows, so that layers with
  // different masks share one layout.
  virtual std::vector<std::vector<TokenRun>> home(const ContextProblem& problem, int ranks) const = 0;
  virtual ContextPlan plan(const ContextProblem& problem, int ranks) const = 0;
};

std::span<const ContextPlanner* const> context_planners();
// Throws Error(kUsage) listing the names there are.
const ContextPlanner& context_planner(std::string_view name);
// Checks the problem, plans, and proves the plan right before handing it out.
ContextPlan make_context_plan(std::string_view scheme, const ContextProblem& problem, int ranks);

}  // namespace longspan
