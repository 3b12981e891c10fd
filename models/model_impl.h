// The parts of a Model, as training and generation both use them.
#pragma once

#include <memory>
#include <vector>

#include "models/activation_offload.h"
#include "models/model.h"
#include "models/rope.h"
#include "models/split_layer.h"

namespace longspan {

struct Model::Impl {
  Impl(const ModelConfig& model_config, DType model_precision, Gradients gradients, Arena& weights);

  // Allocates and fills the rotary tables of these positions.
  LayerCall begin(const Exec& exec, const Tensor& positions, Arena& activations);
  // normed = final norm of x, may alias it; rstd absent: not saved.
  void normalize(const Exec& exec, const Tensor& x, const Tensor& normed, const Tensor& rstd) const;
  // A [c,E] tensor in the model's precision.
  Tensor new_stream(Arena& activations, std::string_view name, std::int64_t tokens) const;

  // The offload that the config asks for, made when first needed; null: none.
  ActivationOffload* offload_on(const Exec& exec);

  // input -> output of one layer; attention_out and lse are the caller's. Keeps state for backward_layer as
  // config.recompute says.
  void forward_layer(const LayerCall& call, const SplitLayer& layer, LayerState& state, ContextAttention& attention,
                     const Tensor& output) const;
  // doutput -> dinput of one layer, and its weight gradients.
  void backward_layer(const LayerCall& call, const SplitLayer& layer, LayerState& state, ContextAttention& attention,
                      const Tensor& doutput, const Tensor& dinput) const;

  ModelConfig config;
  DType precision;
  ParameterStore store;
  std::vector<std::unique_ptr<SplitLayer>> layers;
  Weight embedding, final_norm, head;  // head is embedding where tied
  RopeFrequencies rope;
  std::unique_ptr<ActivationOffload> offload;
};

}  // namespace longspan
