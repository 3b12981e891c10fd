#include "trainer/forecast/attention_time.h"

#include <algorithm>
#include <memory>
#include <set>

#include "kernels/core/error.h"
#include "parallel/context/auto.h"
#include "parallel/context/planner.h"
#include "trainer/loop/step_plan.h"

namespace longspan {
namespace {

constexpr int kFewRanks = 8;  // so many are all looked at

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

std::vector<std::int64_t> SequenceBatch::offsets() const {
  std::vector<std::int64_t> offsets{0};
  for (std::int64_t i = 0; i < sequences; ++i)
    for (const std::int64_t length : documents) offsets.push_back(offsets.back() + length);
  return offsets;
}

double ContextTime::seconds() const {
  double sum = 0;
  for (const AttentionTime& layer : layers) sum += layer.forward.seconds + layer.backward.seconds;
  return sum;
}

AttentionTimes::AttentionTimes(const Config& config, const Machine& machine, Device device)
    : config_(config), machine_(machine), device_(device) {}

AttentionTime AttentionTimes::price_plan(const ContextPlan& plan, const ContextPlace& place) const {
  ContextSite site = site_of(config_.model, machine_, place);
  AttentionTime time;
  time.forward = price(plan, plan.forward, site);
  site.costs.flops_per_second = machine_.attention_rate(static_cast<double>(config_.model.head_dim)).backward;
  time.backward = price(plan, plan.backward, site);
  return time;
}

AttentionTimes::PatternPlans AttentionTimes::plan(const ContextPlace& place, const SequenceBatch& batch) const {
  const ModelConfig& model = config_.model;
  std::vector<ContextProblem> problems;  // each once
  PatternPlans pattern;
  for (const AttentionKind& kind : model.pattern) {
    const ContextProblem problem = attention_problem(model, kind, batch.offsets());
    const auto known = std::find(problems.begin(), problems.end(), problem);
    pattern.plan_of.push_back(static_cast<std::size_t>(known - problems.begin()));
    if (known == problems.end()) problems.push_back(problem);
  }
  pattern.plans = plan_all(place.scheme, problems, site_of(model, machine_, place));
  return pattern;
}

const ContextTime& AttentionTimes::of(const ContextPlace& place, const SequenceBatch& batch) {
  const auto known = times_.find({place, batch});
  if (known != times_.end()) return known->second;
  const PatternPlans pattern = plan(place, batch);
  std::vector<AttentionTime> times;
  for (const ContextPlan& plan : pattern.plans) times.push_back(price_plan(plan, place));
  ContextTime context;
  for (const std::size_t i : pattern.plan_of) context.layers.push_back(times[i]);
  for (int rank = 0; rank < place.ranks; ++rank)
    context.tokens = std::max(context.tokens, pattern.plans.front().tokens_of(rank));
  return times_.emplace(Key(place, batch), std::move(context)).first->second;
}

AttentionNeed AttentionTimes::need(const ContextPlace& place, const SequenceBatch& batch) {
  const auto known = needs_.find({place, batch});
  if (known != needs_.end()) return known->second;
  PatternPlans pattern = plan(place, batch);
  std::vector<std::shared_ptr<const ContextPlan>> distinct, plans;
  for (ContextPlan& plan : pattern.plans) distinct.push_back(std::make_shared<const ContextPlan>(std::move(plan)));
  for (const std::size_t i : pattern.plan_of) plans.push_back(distinct[i]);
  std::set<int> ranks{0, place.ranks / 2, place.ranks - 1};
  for (int rank = 0; rank < place.ranks && place.ranks <= kFewRanks; ++rank) ranks.insert(rank);
  AttentionNeed most;
  for (const int rank : ranks) {
    const AttentionNeed need = attention_need(config_, device_, plans, rank);
    most.tokens = std::max(most.tokens, need.tokens);
    most.bytes = std::max(most.bytes, need.bytes);
  }
  return needs_[Key(place, batch)] = most;
}

ContextTime AttentionTimes::ideal(int ranks, const SequenceBatch& batch) const {
  const ModelConfig& model = config_.model;
  const double head_dim = static_cast<double>(model.head_dim);
  const AttentionRate rate = machine_.attention_rate(head_dim);
  const std::vector<std::int64_t> offsets = SequenceBatch{batch.documents, 1}.offsets();
  ContextTime context{.layers = {}, .tokens = (offsets.back() * batch.sequences + ranks - 1) / ranks};
  for (const AttentionKind& kind : model.pattern) {
    const Band band{kind.causal && kind.window > 0 ? 1 - kind.window : Band::kUnboundedLow,
                    kind.causal ? 0 : Band::kUnboundedHigh};
    double pairs = 0;
    for (const std::int64_t length : batch.documents)
      pairs += static_cast<double>(count_pairs({0, length, 0, length, 0, model.heads, band}));
    pairs *= static_cast<double>(batch.sequences);
    const double forward = pairs * 4 * head_dim / rate.forward / ranks;
    const double backward = pairs * 10 * head_dim / rate.backward / ranks;
    context.layers.push_back({{forward, forward}, {backward, backward}});
  }
  return context;
}

}  // namespace longspan
