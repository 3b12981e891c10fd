#include "models/model.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/ops/layer_ops.h"
#include "models/kept_layers.h"
#include "models/layers/layer_list.h"
#include "models/model_impl.h"
#include "models/size_counter.h"

namespace longspan {
namespace {

constexpr MemoryCategory kActivations = MemoryCategory::kActivations;

void check_batch(const MicroBatch& batch, AttentionByPattern attention, const ModelConfig& config) {
  const auto tokens = batch.tokens.size(0);
  LS_CHECK(batch.labels.size(0) == tokens && batch.positions.size(0) == tokens, "micro-batch of {}, {}, {}",
           batch.tokens.describe(), batch.labels.describe(), batch.positions.describe());
  LS_CHECK(attention.size() == config.pattern.size(), "{} attentions for a pattern of {}", attention.size(),
           config.pattern.size());
}

const ModelConfig& checked(const ModelConfig& config) {
  check_model_config(config);
  return config;
}

// What the model, rather than the layer, allocates for one layer's attention in backward: dq, dk, dv.
std::int64_t attention_backward_bytes(const ModelConfig& config, DType precision, std::int64_t tokens) {
  SizeCounter backward;
  backward.allocate("dq", kActivations, precision, {tokens, config.heads, config.head_dim});
  backward.allocate("dk", kActivations, precision, {tokens, config.kv_heads, config.head_dim});
  backward.allocate("dv", kActivations, precision, {tokens, config.kv_heads, config.head_dim});
  return backward.used_bytes();
}

}  // namespace

Model::Impl::Impl(const ModelConfig& model_config, DType model_precision, Gradients gradients, Arena& weights)
    : config(checked(model_config)),
      precision(model_precision),
      store(parameter_specs(config), precision, gradients, weights),
      embedding(store.weight("model.embed_tokens.weight")),
      final_norm(store.weight("model.norm.weight")),
      head(config.tie_embeddings ? embedding : store.weight("lm_head.weight")),
      rope(rope_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)) {
  for (std::int64_t l = 0; l < config.layers; ++l)
    layers.push_back(layer_kind(config.attention_of(l).kind).make(config, l, precision, store));
}

LayerCall Model::Impl::begin(const Exec& exec, const Tensor& positions, Arena& activations) {
  const std::int64_t tokens = positions.size(0), pairs = config.head_dim / 2;
  LayerCall call{.exec = exec,
                 .activations = activations,
                 .cos = activations.allocate("cos", kActivations, DType::kF32, {tokens, pairs}),
                 .sin = activations.allocate("sin", kActivations, DType::kF32, {tokens, pairs})};
  rotary_table(exec, positions, rope.inverse, rope.attention_factor, call.cos, call.sin);
  return call;
}

void Model::Impl::normalize(const Exec& exec, const Tensor& x, const Tensor& normed, const Tensor& rstd) const {
  rms_norm_forward(
      exec,
      {.x = x, .weight = final_norm.value, .y = normed, .rstd = rstd, .eps = static_cast<float>(config.norm_eps)});
}

Tensor Model::Impl::new_stream(Arena& activations, std::string_view name, std::int64_t tokens) const {
  return activations.allocate(name, kActivations, precision, {tokens, config.hidden});
}

ActivationOffload* Model::Impl::offload_on(const Exec& exec) {
  if (config.offload == Offload::kNone) return nullptr;
  if (!offload) offload = std::make_unique<ActivationOffload>(*exec.runtime);
  return offload.get();
}

void Model::Impl::forward_layer(const LayerCall& call, const SplitLayer& layer, LayerState& state,
                                ContextAttention& attention, const Tensor& output) const {
  std::optional<Arena::Scope> transient;
  if (config.recompute == Recompute::kSelective) transient.emplace(call.activations);
  layer.pre_forward(call, state);
  attention.forward(call.exec, {.q = state.q,
                                .k = state.k,
                                .v = state.v,
                                .sink = layer.sink().value,
                                .out = state.attention_out,
                                .lse = state.lse});
  layer.post_forward(call, state, output);
}

void Model::Impl::backward_layer(const LayerCall& call, const SplitLayer& layer, LayerState& state,
                                 ContextAttention& attention, const Tensor& doutput, const Tensor& dinput) const {
  Arena& arena = call.activations;
  Arena::Scope transient(arena);
  if (config.recompute == Recompute::kSelective) {
    layer.pre_forward(call, state);
    layer.post_recompute(call, state);
  }
  layer.post_backward(call, state, doutput);
  const std::int64_t tokens = state.input.size(0);
  state.dq = arena.allocate("dq", kActivations, precision, {tokens, config.heads, config.head_dim});
  state.dk = arena.allocate("dk", kActivations, precision, {tokens, config.kv_heads, config.head_dim});
  state.dv = arena.allocate("dv", kActivations, precision, {tokens, config.kv_heads, config.head_dim});
  attention.backward(call.exec, {.q = state.q,
                                 .k = state.k,
                                 .v = state.v,
                                 .sink = layer.sink().value,
                                 .out = state.attention_out,
                                 .lse = state.lse,
                                 .dout = state.dattention_out,
                                 .dq = state.dq,
                                 .dk = state.dk,
                                 .dv = state.dv,
                                 .dsink = layer.sink().gradient});
  layer.pre_backward(call, state, dinput);
  layer.weight_backward(call, state);
}

Model::Model(const ModelConfig& config, DType precision, Gradients gradients, Arena& weights)
    : impl_(std::make_unique<Impl>(config, precision, gradients, weights)) {}
Model::~Model() = default;

const ModelConfig& Model::config() const {
  return impl_->config;
}
DType Model::precision() const {
  return impl_->precision;
}
std::span<Parameter> Model::parameters() {
  return impl_->store.parameters();
}
const Tensor& Model::all_gradients() const {
  return impl_->store.all_gradients();
}
void Model::initialize(const Exec& exec, std::uint64_t seed) {
  impl_->store.initialize(exec, impl_->config, seed);
}
void Model::refresh_compute(const Exec& exec) {
  impl_->store.refresh_compute(exec);
}

void Model::evaluate(const Exec& exec, const MicroBatch& batch, AttentionByPattern attention, const Tensor& totals,
                     Arena& activations) {
  check_batch(batch, attention, impl_->config);
  const std::int64_t tokens = batch.tokens.size(0);
  Arena::Scope scope(activations);
  const LayerCall call = impl_->begin(exec, batch.positions, activations);
  Tensor x = impl_->new_stream(activations, "stream", tokens);
  Tensor next = impl_->new_stream(activations, "next stream", tokens);
  embedding_forward(exec, batch.tokens, impl_->embedding.value, x);
  for (std::size_t l = 0; l < impl_->layers.size(); ++l) {
    Arena::Scope layer_scope(activations);
    const SplitLayer& layer = *impl_->layers[l];
    const auto state = layer.make_state();
    state->input = x;
    state->attention_out = activations.allocate("attention out", kActivations, impl_->precision,
                                                {tokens, impl_->config.heads, impl_->config.head_dim});
    state->lse = activations.allocate("lse", kActivations, DType::kF32, {tokens, impl_->config.heads});
    impl_->forward_layer(call, layer, *state, *attention[l % attention.size()], next);
    std::swap(x, next);
  }
  impl_->normalize(exec, x, x, {});
  head_loss(exec, {.hidden = x,
                   .weight = impl_->head.value,
                   .labels = batch.labels,
                   .dhidden = {},
                   .dweight = {},
                   .totals = totals});
}

void Model::forward_backward(const Exec& exec, const MicroBatch& batch, AttentionByPattern attention, float grad_scale,
                             const Tensor& totals, Arena& activations) {
  check_batch(batch, attention, impl_->config);
  LS_CHECK(all_gradients(), "forward_backward of a model without gradients");
  const std::int64_t tokens = batch.tokens.size(0);
  const std::int64_t num_layers = impl_->config.layers;
  Arena::Scope scope(activations);
  const LayerCall call = impl_->begin(exec, batch.positions, activations);

  KeptLayers kept(activations, impl_->config, impl_->precision, tokens, impl_->offload_on(exec));
  const auto layer = [&](std::int64_t l) -> const SplitLayer& { return *impl_->layers[static_cast<std::size_t>(l)]; };
  const auto attention_of = [&](std::int64_t l) -> ContextAttention& {
    return *attention[static_cast<std::size_t>(l) % attention.size()];
  };
  std::vector<std::unique_ptr<LayerState>> states;
  const auto place = [&](std::int64_t l, const KeptLayer& tensors) -> LayerState& {
    LayerState& state = *states[static_cast<std::size_t>(l)];
    state.input = tensors.input;
    state.attention_out = tensors.attention_out;
    state.lse = tensors.lse;
    return state;
  };
  embedding_forward(exec, batch.tokens, impl_->embedding.value, kept.stream(0));
  for (std::int64_t l = 0; l < num_layers; ++l) {
    states.push_back(layer(l).make_state());
    LayerState& state = place(l, kept.begin_forward(exec, l));
    impl_->forward_layer(call, layer(l), state, attention_of(l), kept.stream(l + 1));
    kept.end_forward(exec, l);
  }

  const Tensor x = kept.stream(num_layers);
  const Tensor rstd = activations.allocate("final rstd", kActivations, DType::kF32, {tokens});
  Tensor dx = impl_->new_stream(activations, "stream gradient", tokens);
  {
    Arena::Scope head_scope(activations);
    const Tensor normed = impl_->new_stream(activations, "final normed", tokens);
    impl_->normalize(exec, x, normed, rstd);
    head_loss(exec, {.hidden = normed,
                     .weight = impl_->head.value,
                     .labels = batch.labels,
                     .grad_scale = grad_scale,
                     .dhidden = dx,
                     .dweight = impl_->head.gradient,
                     .totals = totals});
  }
  const Weight& norm = impl_->final_norm;
  rms_norm_backward(exec, {.x = x, .weight = norm.value, .rstd = rstd, .dy = dx, .dx = dx, .dweight = norm.gradient});
  Tensor dnext = x;  // nobody reads the last output any more
  for (std::int64_t l = num_layers; l-- > 0;) {
    LayerState& state = place(l, kept.begin_backward(exec, l));
    impl_->backward_layer(call, layer(l), state, attention_of(l), dx, dnext);
    kept.end_backward(exec, l);
    std::swap(dx, dnext);
  }
  embedding_backward(exec, batch.tokens, dx, impl_->embedding.gradient);
}

std::int64_t weight_bytes(const ModelConfig& config, DType precision, Gradients gradients) {
  return ParameterStore::bytes(parameter_specs(config), precision, gradients);
}

std::int64_t activation_bytes(const ModelConfig& config, DType precision, std::int64_t tokens) {
  SizeCounter tables, stream, rstd, between;
  tables.allocate("cos", kActivations, DType::kF32, {tokens, config.head_dim / 2});
  tables.allocate("sin", kActivations, DType::kF32, {tokens, config.head_dim / 2});
  stream.allocate("stream", kActivations, precision, {tokens, config.hidden});
  rstd.allocate("final rstd", kActivations, DType::kF32, {tokens});
  KeptLayers(between, config, precision, tokens, nullptr);
  const std::int64_t attention_backward = attention_backward_bytes(config, precision, tokens);
  const bool keeps_all = config.recompute == Recompute::kNone;

  // Kept until its backward by every layer, and on top of that by the one whose backward takes most.
  std::int64_t kept = 0, most = stream.used_bytes();  // the head's normed input
  for (std::int64_t l = 0; l < config.layers; ++l) {
    const LayerBytes bytes = layer_kind(config.attention_of(l).kind).bytes(config, precision, tokens);
    const std::int64_t forward = bytes.pre_forward + bytes.post_forward;
    kept += keeps_all ? forward : 0;
    most = std::max(
        most, (keeps_all ? 0 : forward) + std::max(bytes.post_backward_peak, bytes.post_backward + attention_backward));
  }
  return tables.used_bytes() + between.used_bytes() + rstd.used_bytes() + stream.used_bytes() + kept + most;
}

std::int64_t offloaded_bytes(const ModelConfig& config, DType precision, std::int64_t tokens) {
  SizeCounter counter;
  return KeptLayers(counter, config, precision, tokens, nullptr).offloaded_bytes();
}

}  // namespace longspan
