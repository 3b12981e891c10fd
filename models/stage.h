// StageSpan: a stretch of a model's depth that one rank computes as one, and what such a stage is made of.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/model_config.h"

namespace longspan {

// Layers [begin, end), the embedding before them and the final norm, head and loss behind them where they belong to it.
struct StageSpan {
  std::int64_t begin = 0, end = 0;
  bool embeds = false, has_head = false;

  std::int64_t layers() const { return end - begin; }
  bool operator==(const StageSpan&) const = default;
};

StageSpan whole_model(const ModelConfig& config);

// The stages of one rank, in any order. Throws Error(kUsage) unless each has something to compute and lies in the
// model, no two have anything in common, and the embedding and the head stand at the model's ends.
void check_stages(const ModelConfig& config, std::span<const StageSpan> stages);

// How the layer of this place in the stage, counted from its first, gets what its backward reads.
Recompute recompute_of(const ModelConfig& config, std::int64_t place);

// A backward pass as one, or the gradient of its input apart from those of its weights, which may then come later.
enum class BackwardKind : std::uint8_t { kWhole, kHalves };

}  // namespace longspan
