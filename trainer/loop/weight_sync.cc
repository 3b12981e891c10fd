#include "trainer/loop/weight_sync.h"

#include <algorithm>

#include "kernels/core/error.h"
#include "models/parameters.h"
#include "trainer/loop/precision.h"

namespace longspan {
namespace {

constexpr std::int64_t kNone = -1;

BucketLayout buckets_of(const Config& config, std::span<const StageSpan> stages, int replicas) {
  const WeightLayout weights = weight_layout(config.model, stages, precision_of(config.run));
  return plan_buckets(weights.unit_ranges(), static_cast<std::int64_t>(config.parallel.bucket_mib * (1 << 20)),
                      replicas, weights.undivided);
}

std::int64_t unit_of(const FlatRange& range, Model& model) {
  const std::span<const WeightUnit> units = model.units();
  const auto unit = std::find_if(units.begin(), units.end(),
                                 [&](const WeightUnit& u) { return u.begin <= range.begin && range.end <= u.end; });
  LS_CHECK(unit != units.end(), "elements {} to {} are of no unit", range.begin, range.end);
  return unit - units.begin();
}

bool is_sharded(const Config& config, const MeshShape& mesh) {
  return config.parallel.zero > 0 && mesh.replicas() > 1;
}

int replica_of(const MeshPlace& place, const MeshShape& mesh) {
  return place.data * mesh.context + place.context;
}

}  // namespace

std::optional<std::vector<FlatRange>> owned_ranges(const Config& config, const ParallelLayout& layout,
                                                   const MeshPlace& place) {
  if (!is_sharded(config, layout.mesh)) return std::nullopt;
  return buckets_of(config, layout.stages_of(place.pipeline), layout.mesh.replicas())
      .owned_by(replica_of(place, layout.mesh));
}

WeightSync::WeightSync(const Exec& exec, const Config& config, const ParallelLayout& layout, Mesh& mesh, Model& model,
                       Arena& state)
    : tied_clock_(*exec.runtime, exec.stream),
      tied_unit_(kNone),
      replicas_(mesh.replicas().split_apart(0, mesh.replicas().rank())),
      reducer_(exec, *replicas_, buckets_of(config, model.stages(), mesh.shape().replicas()), model.all_gradients(),
               state, is_sharded(config, mesh.shape()) ? ReductionResult::kOwnShard : ReductionResult::kWhole),
      passes_left_(model.units().size()) {
  const BucketLayout buckets = buckets_of(config, model.stages(), mesh.shape().replicas());
  const int replica = mesh.replicas().rank(), pipeline_rank = mesh.place().pipeline;
  if (is_sharded(config, mesh.shape()))
    gather_ = std::make_unique<WeightGather>(exec, *replicas_, buckets, model.all_weights());
  counted_ = buckets.owned_by(replica);  // whoever updates them, so that the norm has the same bits

  const int first = places_of_stages(layout.schedule).front().rank,
            last = places_of_stages(layout.schedule).back().rank;
  if (!config.model.tie_embeddings || first == last) return;
  const bool is_end = pipeline_rank == first || pipeline_rank == last;
  both_ends_ = mesh.pipeline().split(is_end ? 0 : 1, pipeline_rank);
  if (!is_end) return;
  const auto tied = std::find_if(model.parameters().begin(), model.parameters().end(),
                                 [](const Parameter& p) { return p.name == kEmbeddingWeight; });
  LS_CHECK(tied != model.parameters().end(), "no {} at an end of the pipeline", kEmbeddingWeight);
  tied_ = tied->gradient;
  tied_unit_ = unit_of(tied->place, model);
  if (pipeline_rank == last) counted_ = without(counted_, tied->place);
}

std::int64_t WeightSync::buffer_bytes(const Config& config, const ParallelLayout& layout, const MeshPlace& place) {
  const BucketLayout buckets = buckets_of(config, layout.stages_of(place.pipeline), layout.mesh.replicas());
  return GradientReducer::buffer_bytes(buckets, replica_of(place, layout.mesh));
}

void WeightSync::begin_step(std::int64_t micro_batches, PipelineExecutor& executor) {
  executor_ = &executor;
  std::fill(passes_left_.begin(), passes_left_.end(), micro_batches);
  reducer_.begin_step();
}

void WeightSync::before_use(std::int64_t unit) {
  if (gather_) gather_->wait_for(unit);
}

// A unit is complete once every micro-batch has added its share, whatever the order in which they do.
void WeightSync::gradients_done(std::int64_t unit) {
  if (--passes_left_[static_cast<std::size_t>(unit)] == 0 && unit != tied_unit_) reducer_.unit_done(unit);
}

void WeightSync::progress() {
  reducer_.progress();
  if (gather_) gather_->progress();
  if (executor_ != nullptr) executor_->progress();
}

void WeightSync::finish_gradients() {
  executor_ = nullptr;
  if (tied_unit_ != kNone) {
    tied_clock_.begin();
    both_ends_->all_reduce(tied_, ReduceOp::kSum);
    tied_clock_.end();
    reducer_.unit_done(tied_unit_);
  }
  reducer_.finish();
}

void WeightSync::send_weights() {
  if (gather_) gather_->start();
}

void WeightSync::finish_weights() {
  if (gather_) gather_->finish();
}

double WeightSync::take_exposed_seconds() {
  return tied_clock_.take_seconds() + reducer_.seconds().exposed + (gather_ ? gather_->seconds().exposed : 0);
}

}  // namespace longspan
