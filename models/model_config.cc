#include "models/model_config.h"

#include <cmath>
#include <limits>

#include "kernels/core/error.h"
#include "models/layers/layer_list.h"

namespace longspan {
namespace {

void require_positive(std::string_view key, std::int64_t value) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  LS_REQUIRE(kUsage, value >= 1 && value <= kMost, "model.{}: {} is not between 1 and {}", key, value, kMost);
}

void require_positive(std::string_view key, double value) {
  LS_REQUIRE(kUsage, std::isfinite(value) && value > 0, "model.{}: {} is not a positive number", key, value);
}

void check_rope(const ModelConfig& config) {
  LS_REQUIRE(kUsage, std::isfinite(config.rope_theta) && config.rope_theta > 1,
             "model.rope.theta: {} must be above 1; 10000 is usual", config.rope_theta);
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.kind == RopeScalingKind::kNone) return;
  LS_REQUIRE(kUsage, std::isfinite(scaling.factor) && scaling.factor >= 1,
             "model.rope.scaling.factor: {} must be at least 1", scaling.factor);
  if (scaling.kind == RopeScalingKind::kNtk)
    LS_REQUIRE(kUsage, config.head_dim > 2, "model.head_dim: NTK scaling needs more than 2");
  if (scaling.kind == RopeScalingKind::kYarn) {
    require_positive("rope.scaling.original_length", scaling.original_length);
    require_positive("rope.scaling.beta_slow", scaling.beta_slow);
    LS_REQUIRE(kUsage, std::isfinite(scaling.beta_fast) && scaling.beta_fast >= scaling.beta_slow,
               "model.rope.scaling.beta_fast: {} must be at least beta_slow, {}", scaling.beta_fast, scaling.beta_slow);
    if (scaling.attention_factor) require_positive("rope.scaling.attention_factor", *scaling.attention_factor);
  }
  if (scaling.kind == RopeScalingKind::kLlama3) {
    require_positive("rope.scaling.original_length", scaling.original_length);
    require_positive("rope.scaling.low_freq_factor", scaling.low_freq_factor);
    LS_REQUIRE(kUsage, std::isfinite(scaling.high_freq_factor) && scaling.high_freq_factor > scaling.low_freq_factor,
               "model.rope.scaling.high_freq_factor: {} must be above low_freq_factor, {}", scaling.high_freq_factor,
               scaling.low_freq_factor);
  }
}

void check_attention(const AttentionKind& attention, const std::string& key) {
  layer_kind(attention.kind);
  LS_REQUIRE(kUsage, attention.window >= 0, "{}.window: {} is negative; 0 means no window", key, attention.window);
  LS_REQUIRE(kUsage, attention.window == 0 || attention.causal, "{}.window: {} needs causal: true", key,
             attention.window);
  if (attention.scale)
    LS_REQUIRE(kUsage, std::isfinite(*attention.scale) && *attention.scale > 0, "{}.scale: {} is not a positive number",
               key, *attention.scale);
}

void check_recompute(const ModelConfig& config) {
  const bool recomputes = config.recompute != Recompute::kNone;
  LS_REQUIRE(kUsage, config.recompute_layers >= -1, "model.recompute_layers: {} layers; give -1 for all of a stage",
             config.recompute_layers);
  LS_REQUIRE(kUsage, config.recompute_layers == -1 || recomputes,
             "model.recompute_layers: {} needs model.recompute: selective or full", config.recompute_layers);
  LS_REQUIRE(kUsage, config.offload == Offload::kNone || (recomputes && config.recompute_layers == -1),
             "model.offload: activations needs model.recompute: selective or full, of all layers; what else layers "
             "keep would stay where it is");
  LS_REQUIRE(kUsage, config.mlp_chunk >= 0, "model.mlp_chunk: {} tokens at a time; give 0 for all of them",
             config.mlp_chunk);
  LS_REQUIRE(
      kUsage, config.mlp_chunk == 0 || recomputes,
      "model.mlp_chunk: {} needs model.recompute: selective or full; else each chunk's tensors would be kept all "
      "the same",
      config.mlp_chunk);
}

}  // namespace

void check_model_config(const ModelConfig& config) {
  require_positive("layers", config.layers);
  require_positive("hidden", config.hidden);
  require_positive("heads", config.heads);
  require_positive("kv_heads", config.kv_heads);
  require_positive("head_dim", config.head_dim);
  require_positive("ffn", config.ffn);
  require_positive("vocab", config.vocab);
  LS_REQUIRE(kUsage, config.heads % config.kv_heads == 0, "model.heads: {} is not a multiple of model.kv_heads, {}",
             config.heads, config.kv_heads);
  LS_REQUIRE(kUsage, config.head_dim % 2 == 0, "model.head_dim: {} is odd; rotary positions turn pairs",
             config.head_dim);
  require_positive("norm_eps", config.norm_eps);
  require_positive("init_std", config.init_std);
  check_rope(config);
  check_recompute(config);
  LS_REQUIRE(kUsage, !config.pattern.empty(), "model.pattern: empty; give at least one attention map");
  for (std::size_t i = 0; i < config.pattern.size(); ++i)
    check_attention(config.pattern[i],
                    config.pattern.size() == 1 ? "model.attention" : fmt::format("model.pattern[{}]", i));
}

}  // namespace longspan
