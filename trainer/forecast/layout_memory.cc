#include "trainer/forecast/layout_memory.h"

#include <algorithm>

#include "models/model.h"
#include "trainer/loop/precision.h"

namespace longspan {

LayoutMemory::LayoutMemory(const Config& config, int num_threads, int ranks_per_node, Device device)
    : config_(config), num_threads_(num_threads), ranks_per_node_(ranks_per_node), device_(device) {}

std::int64_t LayoutMemory::most_bytes(const LayoutChoice& choice, const ParallelLayout& layout,
                                      const AttentionNeed& attention) {
  const Config config = with_layout(config_, choice);
  const HostRanks host{layout, {}, num_threads_, ranks_per_node_, device_};
  std::int64_t most = 0;
  for (int place = 0; place < layout.mesh.pipeline; ++place)
    most = std::max(most, predict_memory(config, host, layout.mesh.rank_of({.pipeline = place}), attention).total());
  return most;
}

std::int64_t LayoutMemory::kept_by(const LayoutChoice& choice, const StageSpan& stage, std::int64_t tokens,
                                   BackwardKind backward) {
  const StageKey key{stage.begin, stage.end, stage.embeds, stage.has_head, choice.recompute, choice.recompute_layers,
                     tokens,      backward};
  const auto known = kept_.find(key);
  if (known != kept_.end()) return known->second;
  const Config config = with_layout(config_, choice);
  return kept_[key] = kept_bytes(config.model, stage, precision_of(config.run), tokens, backward);
}

std::int64_t LayoutMemory::weights_of(const LayoutChoice& choice, const ParallelLayout& outline, int place) {
  const std::tuple key{choice.schedule, choice.mesh.pipeline, choice.chunks, place, choice.zero};
  const auto known = weights_.find(key);
  if (known != weights_.end()) return known->second;
  const std::vector<StageSpan> stages = outline.stages_of(place);
  const DType precision = precision_of(config_.run);
  const std::int64_t whole = weight_bytes(config_.model, stages, precision, Gradients::kKeep);
  const std::int64_t masters = weight_bytes(config_.model, stages, precision, Gradients::kNone);
  const std::int64_t count = count_parameters(config_.model, stages);
  // In shards at least what is computed with, and the gradients.
  const std::int64_t bytes =
      choice.zero > 0 ? whole - masters + count * size_of(precision) : whole + 2 * count * size_of(DType::kF32);
  return weights_[key] = bytes;
}

std::int64_t LayoutMemory::least_bytes(const LayoutChoice& choice, const ParallelLayout& outline,
                                       const AttentionNeed& attention) {
  const std::tuple key{choice.schedule, choice.mesh.pipeline, choice.chunks};
  auto known = outlines_.find(key);
  if (known == outlines_.end())
    known = outlines_.emplace(key, outline_of(choice.schedule, choice.mesh.pipeline, choice.chunks)).first;
  std::int64_t most = 0;
  for (int place = 0; place < outline.mesh.pipeline; ++place) {
    std::int64_t bytes = weights_of(choice, outline, place) + attention.bytes;
    const std::vector<StageSpan> stages = outline.stages_of(place);
    std::int64_t kept = 0;  // chunks may take turns in the same arenas
    for (std::size_t chunk = 0; chunk < stages.size(); ++chunk) {
      // Fewer micro-batches than ranks may not fill the pipeline: then at least one is there.
      const std::int64_t live =
          choice.micro_batches >= choice.mesh.pipeline ? known->second.live[static_cast<std::size_t>(place)][chunk] : 1;
      kept = std::max(kept, live * kept_by(choice, stages[chunk], attention.tokens, BackwardKind::kWhole));
    }
    most = std::max(most, bytes + kept);
  }
  return most;
}

}  // namespace longspan
