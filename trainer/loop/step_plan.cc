#include "trainer/loop/step_plan.h"

#include <algorithm>
#include <utility>

#include "trainer/loop/attention_set.h"
#include "trainer/loop/precision.h"

namespace longspan {
namespace {

// Round figures of one rank on a core or two of a server: they decide where schemes differ by far more than these are
// off.
constexpr ContextCosts kCpuCosts{.flops_per_second = 1e11,
                                 .node_bytes_per_second = 4e9,
                                 .network_bytes_per_second = 1e9,
                                 .seconds_per_message = 2e-5,
                                 .seconds_per_task = 1e-5};

// Of one of the larger GPUs of 2023 (dense bf16, at about half its datasheet's rate), links between GPUs of a host and
// a network card a GPU.
constexpr ContextCosts kGpuCosts{.flops_per_second = 4e14,
                                 .node_bytes_per_second = 3e11,
                                 .network_bytes_per_second = 4e10,
                                 .seconds_per_message = 1e-5,
                                 .seconds_per_task = 5e-6};

// Order matters: a step is its plans one after another.
std::uint64_t mix(std::uint64_t hash, std::uint64_t next) {
  return (hash ^ next) * 0x9e3779b97f4a7c15u + (hash >> 29);
}

void add_micro_batch(const ModelConfig& model, const PlanPlace& place, const PackedSequence& sequence, StepPlan& step) {
  auto plans = plan_pattern(model, place, sequence.cu_seqlens);
  for (const auto& plan : plans) step.hash = mix(step.hash, hash_of(*plan));
  LocalBatch local(sequence, plans.front()->home[static_cast<std::size_t>(place.context_rank)]);
  step.num_tokens += static_cast<std::int64_t>(sequence.tokens.size());
  step.num_labels += local.num_labels();
  step.micro_batches.push_back({std::move(local), std::move(plans)});
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

ContextSite context_site(const Config& config, const MeshShape& mesh, int ranks_per_node, Device device) {
  ContextSite site(mesh.context,
                   attention_desc(config.model, config.model.pattern.front(), precision_of(config.run), device));
  site.ranks_per_node = ranks_per_node;
  site.costs = device == Device::kCpu ? kCpuCosts : kGpuCosts;
  return site;
}

std::vector<std::shared_ptr<const ContextPlan>> plan_pattern(const ModelConfig& model, const PlanPlace& place,
                                                             const std::vector<std::int64_t>& cu_seqlens,
                                                             std::string* why) {
  std::vector<ContextProblem> problems;  // each once
  std::vector<std::size_t> problem_of;   // by entry of the pattern
  for (const AttentionKind& kind : model.pattern) {
    const ContextProblem problem = attention_problem(model, kind, cu_seqlens);
    const auto known = std::find(problems.begin(), problems.end(), problem);
    problem_of.push_back(static_cast<std::size_t>(known - problems.begin()));
    if (known == problems.end()) problems.push_back(problem);
  }
  LayerPlans layers = make_layer_plans(place.scheme, problems, place.site);
  if (why != nullptr) *why = std::move(layers.why);
  std::vector<std::shared_ptr<const ContextPlan>> distinct, plans;
  for (ContextPlan& plan : layers.plans) distinct.push_back(std::make_shared<const ContextPlan>(std::move(plan)));
  for (const std::size_t i : problem_of) plans.push_back(distinct[i]);
  return plans;
}

StepPlan plan_step(const Loader& loader, const ModelConfig& model, const PlanPlace& place,
                   const StepSequences& sequences) {
  const StepDocuments documents = documents_of_step(loader, DocumentWork(model), sequences);
  StepPlan step;
  step.hash = step.documents_hash = documents.hash;
  step.why_kept = documents.why_kept;
  for (std::int64_t m = 0; m < sequences.micro_batches; ++m)
    add_micro_batch(model, place,
                    read_micro_batch(loader, documents, sequences.data_rank * sequences.micro_batches + m), step);
  return step;
}

StepPlan plan_step(const Loader& loader, const ModelConfig& model, const PlanPlace& place,
                   const std::vector<std::int64_t>& indices, std::int64_t sequences_each) {
  StepPlan step;
  for (std::size_t begin = 0; begin < indices.size(); begin += static_cast<std::size_t>(sequences_each)) {
    const std::size_t end = std::min(indices.size(), begin + static_cast<std::size_t>(sequences_each));
    std::vector<PackedSequence> sequences;
    for (std::size_t i = begin; i < end; ++i) sequences.push_back(loader.at(indices[i]));
    add_micro_batch(model, place, join(sequences), step);
  }
  return step;
}

StepPlanner::StepPlanner(const Loader& loader, const ModelConfig& model, PlanPlace place)
    : loader_(loader), model_(model), place_(std::move(place)) {}

StepPlan StepPlanner::take(const StepSequences& sequences) {
  if (next_.valid()) {
    StepPlan plan = next_.get();
    if (prepared_ == sequences) return plan;
  }
  return plan_step(loader_, model_, place_, sequences);
}

void StepPlanner::prepare(const StepSequences& sequences) {
  prepared_ = sequences;
  next_ = std::async(std::launch::async, [this] { return plan_step(loader_, model_, place_, prepared_); });
}

}  // namespace longspan
