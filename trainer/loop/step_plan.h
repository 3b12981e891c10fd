// StepPlan: what a rank needs to run one step - tokens, labels, attention plans - and the thread that prepares the
// next.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "parallel/context/planner.h"
#include "parallel/mesh.h"
#include "trainer/config/config.h"
#include "trainer/loop/local_batch.h"
#include "trainer/loop/step_documents.h"

namespace longspan {

// The attention problem of one kind of layer over packed documents.
ContextProblem attention_problem(const ModelConfig& model, const AttentionKind& kind,
                                 const std::vector<std::int64_t>& cu_seqlens);

// One rank's part of one micro-batch. All plans share one home.
struct PlannedMicroBatch {
  LocalBatch local;
  std::vector<std::shared_ptr<const ContextPlan>> plans;  // one an entry of model.pattern
};

struct StepPlan {
  std::vector<PlannedMicroBatch> micro_batches;
  std::int64_t num_tokens = 0;       // of all micro-batches of this data rank
  std::int64_t num_labels = 0;       // on this rank alone
  std::uint64_t hash = 0;            // of the documents and every plan: equal on all ranks of the context group
  std::uint64_t documents_hash = 0;  // of the step's documents and where each goes: equal on all ranks
  std::string why_kept;              // see StepDocuments
};

// How a context group's rank takes its part.
struct PlanPlace {
  std::string scheme;
  ContextSite site{1};
  int context_rank = 0;
};
// Where the context groups of a mesh compute, and on what, for planners that weigh costs.
ContextSite context_site(const Config& config, const MeshShape& mesh, int ranks_per_node, Device device);

// The plan of each entry of model.pattern over these documents, proved right; equal problems share one. `why` (may be
// null) takes what the scheme auto weighed.
std::vector<std::shared_ptr<const ContextPlan>> plan_pattern(const ModelConfig& model, const PlanPlace& place,
                                                             const std::vector<std::int64_t>& cu_seqlens,
                                                             std::string* why = nullptr);

// This rank's part of a step. A pure function; plans come out proved right.
StepPlan plan_step(const Loader& loader, const ModelConfig& model, const PlanPlace& place,
                   const StepSequences& sequences);
// Any sequences of the loader, as they are packed, `sequences_each` to a micro-batch.
StepPlan plan_step(const Loader& loader, const ModelConfig& model, const PlanPlace& place,
                   const std::vector<std::int64_t>& indices, std::int64_t sequences_each);

// Prepares the step after the one under way in a thread of its own.
class StepPlanner {
 public:
  StepPlanner(const Loader& loader, const ModelConfig& model, PlanPlace place);
  // The plan of these sequences: the one prepared, or made now. Rethrows what went wrong while it was prepared.
  StepPlan take(const StepSequences& sequences);
  // Begins to prepare the plan of these sequences.
  void prepare(const StepSequences& sequences);

 private:
  const Loader& loader_;
  const ModelConfig& model_;
  PlanPlace place_;
  StepSequences prepared_;
  std::future<StepPlan> next_;  // last: its destructor waits for the thread, which reads the members above
};

}  // namespace longspan
