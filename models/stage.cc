#include "models/stage.h"

#include "kernels/core/error.h"

namespace longspan {

StageSpan whole_model(const ModelConfig& config) {
  return {.begin = 0, .end = config.layers, .embeds = true, .has_head = true};
}

void check_stages(const ModelConfig& config, std::span<const StageSpan> stages) {
  LS_REQUIRE(kUsage, !stages.empty(), "a model of no stage; give at least one");
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const StageSpan& stage = stages[i];
    const std::string what = fmt::format("stage of layers {} to {}", stage.begin, stage.end);
    LS_REQUIRE(kUsage, 0 <= stage.begin && stage.begin <= stage.end && stage.end <= config.layers,
               "{}: the model has {}", what, config.layers);
    LS_REQUIRE(kUsage, stage.layers() > 0 || stage.embeds || stage.has_head, "{}: nothing to compute", what);
    LS_REQUIRE(kUsage, !stage.embeds || stage.begin == 0, "{}: the embedding comes before the first layer", what);
    LS_REQUIRE(kUsage, !stage.has_head || stage.end == config.layers, "{}: the head comes behind the last of {}", what,
               config.layers);
    for (const StageSpan& other : stages.first(i))
      LS_REQUIRE(kUsage,
                 (other.end <= stage.begin || stage.end <= other.begin) && !(other.embeds && stage.embeds) &&
                     !(other.has_head && stage.has_head),
                 "{}: overlaps that of {} to {} on the same rank", what, other.begin, other.end);
  }
}

Recompute recompute_of(const ModelConfig& config, std::int64_t place) {
  return config.recompute_layers < 0 || place < config.recompute_layers ? config.recompute : Recompute::kNone;
}

}  // namespace longspan
