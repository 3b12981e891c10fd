#include "trainer/loop/step_plan.h"

#include <utility>

#include "parallel/context/planner.h"

namespace longspan {
namespace {

// Order matters: a step is its plans one after another.
std::uint64_t mix(std::uint64_t hash, std::uint64_t next) {
  return (hash ^ next) * 0x9e3779b97f4a7c15u + (hash >> 29);
}

}  // namespace

ContextProblem attention_problem(const ModelConfig& model, const AttentionKind& kind,
                                 const std::vector<std::int64_t>& cu_seqlens) {
  return {.cu_seqlens = cu_seqlens,
          .heads = model.heads,
          .kv_heads = model.kv_heads,
          .causal = kind.causal,
          .window = kind.window};
}

std::vector<std::shared_ptr<const ContextPlan>> plan_pattern(const ModelConfig& model, const PlanPlace& place,
                                                             const std::vector<std::int64_t>& cu_seqlens) {
  std::vector<std::shared_ptr<const ContextPlan>> plans;
  for (const AttentionKind& kind : model.pattern) {
    const ContextProblem problem = attention_problem(model, kind, cu_seqlens);
    std::shared_ptr<const ContextPlan> plan;
    for (const auto& earlier : plans)
      if (earlier->problem == problem) plan = earlier;
    if (!plan)
      plan = std::make_shared<const ContextPlan>(make_context_plan(place.scheme, problem, place.context_ranks));
    LS_CHECK(plans.empty() || plans.front()->home == plan->home, "{} gives layers different homes", place.scheme);
    plans.push_back(std::move(plan));
  }
  return plans;
}

StepPlan plan_step(const Loader& loader, const ModelConfig& model, const PlanPlace& place,
                   const std::vector<std::int64_t>& indices, std::int64_t sequences_each) {
  StepPlan step;
  for (std::size_t begin = 0; begin < indices.size(); begin += static_cast<std::size_t>(sequences_each)) {
    const std::size_t end = std::min(indices.size(), begin + static_cast<std::size_t>(sequences_each));
    std::vector<PackedSequence> sequences;
    for (std::size_t i = begin; i < end; ++i) sequences.push_back(loader.at(indices[i]));
    const PackedSequence joined = join(sequences);
    auto plans = plan_pattern(model, place, joined.cu_seqlens);
    for (const auto& plan : plans) step.hash = mix(step.hash, hash_of(*plan));
    LocalBatch local(joined, plans.front()->home[static_cast<std::size_t>(place.context_rank)]);
    step.num_tokens += static_cast<std::int64_t>(joined.tokens.size());
    step.num_labels += local.num_labels();
    step.micro_batches.push_back({std::move(local), std::move(plans)});
  }
  return step;
}

StepPlanner::StepPlanner(const Loader& loader, const ModelConfig& model, PlanPlace place, std::int64_t sequences_each)
    : loader_(loader), model_(model), place_(std::move(place)), sequences_each_(sequences_each) {}

StepPlan StepPlanner::take(const std::vector<std::int64_t>& indices) {
  if (next_.valid()) {
    StepPlan plan = next_.get();
    if (prepared_ == indices) return plan;
  }
  return plan_step(loader_, model_, place_, indices, sequences_each_);
}

void StepPlanner::prepare(std::vector<std::int64_t> indices) {
  prepared_ = std::move(indices);
  next_ =
      std::async(std::launch::async, [this] { return plan_step(loader_, model_, place_, prepared_, sequences_each_); });
}

}  // namespace longspan
