#include "trainer/forecast/attention_time.h"

#include <algorithm>

#include "kernels/core/error.h"
#include "parallel/context/auto.h"
#include "parallel/context/planner.h"
#include "trainer/loop/step_plan.h"

namespace longspan {
namespace {

ContextSite site_of(const ModelConfig& model, const Machine& machine, const ContextPlace& place) {
  ContextSite site(place.ranks);
  site.ranks_per_node = place.ranks_per_node;
  site.head_dim = site.value_dim = model.head_dim;
  site.dtype = machine.precision;
  const bool leaves_node = site.node_size() < place.ranks;
  site.costs = {
      .flops_per_second = machine.attention_rate(static_cast<double>(model.head_dim)).forward,
      .node_bytes_per_second = machine.node.bytes_per_second,
      .network_bytes_per_second = machine.network.bytes_per_second,
      .seconds_per_message = leaves_node ? machine.network.seconds_per_message : machine.node.seconds_per_message,
      .seconds_per_task = machine.seconds_per_operator};
  return site;
}

std::vector<ContextPlan> plan_all(const std::string& scheme, const std::vector<ContextProblem>& problems,
                                  const ContextSite& site) {
  if (scheme == kAutoScheme) return choose_layer_plans(problems, site).plans;
  const ContextPlanner& planner = context_planner(scheme);
  std::vector<ContextPlan> plans;
  for (const ContextProblem& problem : problems) {
    if (const Refusal refusal = planner.why_unsupported(problem, site))
      fail(ErrorKind::kUnsupported, "context scheme {}: {}", scheme, *refusal);
    plans.push_back(planner.plan(problem, site));
  }
  return plans;
}

}  // namespace

AttentionTimes::AttentionTimes(const ModelConfig& model, const Machine& machine) : model_(model), machine_(machine) {}

const std::vector<AttentionTime>& AttentionTimes::of(const ContextPlace& place,
                                                     const std::vector<std::int64_t>& cu_seqlens) {
  const auto known = known_.find({place, cu_seqlens});
  if (known != known_.end()) return known->second;
  return known_.emplace(std::pair(place, cu_seqlens), price_all(place, cu_seqlens)).first->second;
}

AttentionTime AttentionTimes::price_plan(const ContextPlan& plan, const ContextPlace& place) const {
  ContextSite site = site_of(model_, machine_, place);
  AttentionTime time;
  time.forward = price(plan, plan.forward, site);
  site.costs.flops_per_second = machine_.attention_rate(static_cast<double>(model_.head_dim)).backward;
  time.backward = price(plan, plan.backward, site);
  for (int rank = 0; rank < plan.ranks; ++rank) time.most_tokens = std::max(time.most_tokens, plan.tokens_of(rank));
  return time;
}

std::vector<AttentionTime> AttentionTimes::price_all(const ContextPlace& place,
                                                     const std::vector<std::int64_t>& cu_seqlens) const {
  std::vector<ContextProblem> problems;  // each once
  std::vector<std::size_t> problem_of;   // by entry of the pattern
  for (const AttentionKind& kind : model_.pattern) {
    const ContextProblem problem = attention_problem(model_, kind, cu_seqlens);
    const auto known = std::find(problems.begin(), problems.end(), problem);
    problem_of.push_back(static_cast<std::size_t>(known - problems.begin()));
    if (known == problems.end()) problems.push_back(problem);
  }
  std::vector<AttentionTime> distinct, times;
  for (const ContextPlan& plan : plan_all(place.scheme, problems, site_of(model_, machine_, place)))
    distinct.push_back(price_plan(plan, place));
  for (const std::size_t i : problem_of) times.push_back(distinct[i]);
  return times;
}

}  // namespace longspan
