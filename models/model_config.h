// What a model is: the plain values that an experiment's `model` section resolves to.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/ops/attention.h"

namespace longspan {

enum class RopeScalingKind : std::uint8_t { kNone, kLinear, kNtk, kYarn, kLlama3 };

// Ways to stretch rotary positions beyond the length a model was trained at. Fields a kind does not use are ignored.
struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::kNone;
  double factor = 1;
  std::int64_t original_length = 8192;          // NTK, YaRN, Llama-3
  double low_freq_factor = 1;                   // Llama-3
  double high_freq_factor = 4;                  // Llama-3
  double beta_fast = 32, beta_slow = 1;         // YaRN
  std::optional<double> attention_factor = {};  // YaRN: 0.1 ln(factor) + 1 unless given
};

// One map of model.pattern: the attention of one layer.
struct AttentionKind {
  std::string kind = "softmax";
  bool causal = true;
  std::int64_t window = 0;
  std::optional<float> scale = {};
  bool sink = false;
  bool operator==(const AttentionKind&) const = default;
};

// Keep the activations (kNone); or keep a layer's input and its attention's output and recompute the rest (kSelective);
// or keep its input alone and run its attention again too, transfers and all (kFull).
enum class Recompute : std::uint8_t { kNone, kSelective, kFull };

// Where what forward keeps for backward waits: where it was computed (kNone), or in pinned host memory (kActivations).
enum class Offload : std::uint8_t { kNone, kActivations };

struct ModelConfig {
  std::int64_t layers = 2, hidden = 64, heads = 4, kv_heads = 4, head_dim = 16, ffn = 128, vocab = 259;
  double norm_eps = 1e-5;
  double init_std = 0.02;
  bool tie_embeddings = true, qk_norm = false, qkv_bias = false;
  double rope_theta = 10000;
  RopeScaling rope_scaling = {};
  std::vector<AttentionKind> pattern{AttentionKind{}};  // layer l uses pattern[l % size]
  SoftmaxOrigin softmax_origin = SoftmaxOrigin::kMaximum;
  Recompute recompute = Recompute::kNone;
  std::int64_t recompute_layers = -1;  // of each stage so many, the first ones, recompute; -1: all of them
  Offload offload = Offload::kNone;    // kActivations: where all layers recompute
  std::int64_t mlp_chunk = 0;          // tokens that the MLP takes at a time, where layers recompute; 0: all

  const AttentionKind& attention_of(std::int64_t layer) const {
    return pattern[static_cast<std::size_t>(layer) % pattern.size()];
  }
};

// Throws Error(kUsage) naming the key and the constraint (heads a multiple of kv_heads, even head_dim, …).
void check_model_config(const ModelConfig& config);

}  // namespace longspan
