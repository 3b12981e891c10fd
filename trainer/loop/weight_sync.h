// WeightSync: keeps the weights of a rank the same as those of its replicas, and its copy of tied embeddings the same
// as the other end's of the pipeline, beside what the passes compute.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "models/model.h"
#include "models/weight_watch.h"
#include "parallel/comm/wait_clock.h"
#include "parallel/data/gradient_reducer.h"
#include "parallel/data/weight_gather.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/pipeline_executor.h"
#include "trainer/loop/parallel_layout.h"

namespace longspan {

// With parallel.zero, what the rank at this place updates: ranges of its flat tensors. Else nullopt: all of them.
std::optional<std::vector<FlatRange>> owned_ranges(const Config& config, const ParallelLayout& layout,
                                                   const MeshPlace& place);

class WeightSync final : public WeightWatch {
 public:
  // Buffers are taken from `state`. Keeps references. Collective over the mesh's world.
  WeightSync(const Exec& exec, const Config& config, const ParallelLayout& layout, Mesh& mesh, Model& model,
             Arena& state);

  // Gradients, zeroed, are about to be added to by so many micro-batches; what `executor` has under way is pushed on
  // too.
  void begin_step(std::int64_t micro_batches, PipelineExecutor& executor);
  // The sums over replicas are there: of all gradients, or with parallel.zero of the owned ones. Collective.
  void finish_gradients();
  // The owned weights were updated: with parallel.zero the others' come in the background.
  void send_weights();
  // All weights are there.
  void finish_weights();

  // Ranges of the flat gradients whose squares this rank adds to the norm: each gradient's once over all ranks.
  const std::vector<FlatRange>& counted() const { return counted_; }

  // In which this rank waited in the last step, once what it queued is done; for weights, in the step before.
  double take_exposed_seconds();
  Communicator& replicas() { return *replicas_; }  // over which they go

  void before_use(std::int64_t unit) override;
  void gradients_done(std::int64_t unit) override;
  void progress() override;

  // What the constructor takes from `state`.
  static std::int64_t buffer_bytes(const Config& config, const ParallelLayout& layout, const MeshPlace& place);

 private:
  WaitClock tied_clock_;
  Tensor tied_;             // gradient of the copy of the embedding that another rank has too; absent: none
  std::int64_t tied_unit_;  // -1: none
  std::unique_ptr<Communicator> both_ends_;
  std::vector<FlatRange> counted_;
  // Apart from what else ranks send each other: buckets come when they are ready, not when the peer looks for them.
  std::unique_ptr<Communicator> replicas_;
  GradientReducer reducer_;
  std::unique_ptr<WeightGather> gather_;   // null: all weights are owned
  std::vector<std::int64_t> passes_left_;  // by unit
  PipelineExecutor* executor_ = nullptr;
};

}  // namespace longspan
