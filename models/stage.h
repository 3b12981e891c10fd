// StageSpan: a stretch of a model's depth that one rank computes as one.
#pragma once

#include "models/model_config.h"

namespace longspan {

// Layers [begin, end), the embedding before them and the final norm, head and loss behind them where they belong to it.
struct StageSpan {
  std::int64_t begin = 0, end = 0;
  bool embeds = false, has_head = false;
  std::int64_t layers() const { return end - begin; }
  bool operator==(const StageSpan&) const = default;
};

inline StageSpan whole_model(const ModelConfig& config) {
  return {.begin = 0, .end = config.layers, .embeds = true, .has_head = true};
}

}  // namespace longspan
