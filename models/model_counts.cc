// Parameters and floating-point operations of a model, counted from its config.
#include <algorithm>
#include <numeric>

#include "models/layers/layer_list.h"

namespace longspan {
namespace {

// Visible (query, key) pairs of one document of this length.
double visible_pairs(const AttentionKind& attention, std::int64_t length) {
  const double n = static_cast<double>(length);
  if (!attention.causal) return n * n;
  const double window = static_cast<double>(attention.window > 0 ? std::min(attention.window, length) : length);
  return window * (window + 1) / 2 + (n - window) * window;  // the first rows see a triangle, the rest `window` each
}

double attention_flops_of_layer(const ModelConfig& config, std::int64_t layer, std::int64_t sequence_length) {
  // A pair costs a head 2 D for its score and 2 D for its value, and twice that in backward.
  const double flops_per_pair = 3 * 4 * static_cast<double>(config.heads * config.head_dim);
  return flops_per_pair * visible_pairs(config.attention_of(layer), sequence_length) /
         static_cast<double>(std::max<std::int64_t>(sequence_length, 1));
}

}  // namespace

std::int64_t count_parameters(const ModelConfig& config) {
  const StageSpan whole = whole_model(config);
  return count_parameters(config, {&whole, 1});
}

std::int64_t count_parameters(const ModelConfig& config, std::span<const StageSpan> stages) {
  std::int64_t count = 0;
  for (const UnitSpec& unit : unit_specs(config, stages))
    for (const ParameterSpec& spec : unit.parameters) count += spec.numel();
  return count;
}

double attention_flops_per_token(const ModelConfig& config, std::int64_t sequence_length) {
  double flops = 0;
  for (std::int64_t l = 0; l < config.layers; ++l) flops += attention_flops_of_layer(config, l, sequence_length);
  return flops;
}

DepthFlops training_flops_by_depth(const ModelConfig& config, std::int64_t sequence_length) {
  // The embedding is a look-up, but the head multiplies by a matrix of its size, shared or not.
  DepthFlops flops{.layers = {}, .head = 6 * static_cast<double>(config.vocab * config.hidden)};
  for (std::int64_t l = 0; l < config.layers; ++l) {
    std::int64_t matrix_parameters = 0;
    for (const ParameterSpec& spec : layer_kind(config.attention_of(l).kind).parameters(config, l))
      if (spec.shape.size() == 2) matrix_parameters += spec.numel();
    flops.layers.push_back(6 * static_cast<double>(matrix_parameters) +
                           attention_flops_of_layer(config, l, sequence_length));
  }
  return flops;
}

double training_flops_per_token(const ModelConfig& config, std::int64_t sequence_length) {
  const DepthFlops flops = training_flops_by_depth(config, sequence_length);
  return std::accumulate(flops.layers.begin(), flops.layers.end(), flops.head);
}

}  // namespace longspan
