#include "models/layers/llama_layer.h"

#include <algorithm>

#include "models/size_counter.h"

namespace longspan {
namespace {

// Each phase's allocations stand once, for the Arenas that serve them and the SizeCounters that predict them.
template <class Allocator>
struct LlamaAllocations {
  Allocator& saved;
  Allocator& passing;
  Allocator& scratch;
  const LlamaShape& shape;
  std::int64_t tokens;

  static Tensor take(Allocator& arena, std::string_view name, DType dtype, std::initializer_list<std::int64_t> sizes) {
    return arena.allocate(name, MemoryCategory::kActivations, dtype, sizes);
  }

  void pre_forward(LlamaState& state) const {
    const auto [c, H, K, D] = std::array{tokens, shape.heads, shape.kv_heads, shape.head_dim};
    state.input_normed = take(saved, "input normed", shape.precision, {c, shape.hidden});
    state.input_rstd = take(passing, "input rstd", DType::kF32, {c});
    state.q = take(passing, "q", shape.precision, {c, H, D});
    state.k = take(passing, "k", shape.precision, {c, K, D});
    state.v = take(passing, "v", shape.precision, {c, K, D});
    if (!shape.qk_norm) return;
    state.q_raw = take(passing, "q before norm", shape.precision, {c, H, D});
    state.k_raw = take(passing, "k before norm", shape.precision, {c, K, D});
    state.q_rstd = take(passing, "q rstd", DType::kF32, {c, H});
    state.k_rstd = take(passing, "k rstd", DType::kF32, {c, K});
  }

  void post_forward(LlamaState& state) const {
    if (shape.mlp_chunk == 0) state.mlp = mlp(tokens, saved, passing);
  }

  LlamaMlp mlp_of_chunk(std::int64_t count) const { return mlp(count, scratch, scratch); }

  LlamaMlp mlp(std::int64_t count, Allocator& until_weights, Allocator& until_input) const {
    LlamaMlp mlp;
    mlp.middle = take(until_input, "middle", shape.precision, {count, shape.hidden});
    mlp.rstd = take(until_input, "middle rstd", DType::kF32, {count});
    mlp.normed = take(until_weights, "middle normed", shape.precision, {count, shape.hidden});
    mlp.gate = take(until_weights, "gate", shape.precision, {count, shape.ffn});
    mlp.up = take(until_weights, "up", shape.precision, {count, shape.ffn});
    mlp.activated = take(until_weights, "activated", shape.precision, {count, shape.ffn});
    return mlp;
  }

  void post_backward(LlamaState& state) const {
    state.dmiddle = take(saved, "dmiddle", shape.precision, {tokens, shape.hidden});
    state.dattention_out = take(passing, "dattention out", shape.precision, {tokens, shape.heads, shape.head_dim});
  }

  // While post_backward runs.
  Tensor dactivated(std::int64_t count) const {
    return take(scratch, "dactivated", shape.precision, {count, shape.ffn});
  }
};

LlamaAllocations<Arena> allocations_in(const LayerCall& call, const LlamaShape& shape, std::int64_t tokens) {
  return {call.saved, call.passing, call.scratch, shape, tokens};
}

LlamaShape shape_of(const ModelConfig& config, DType precision) {
  return {.hidden = config.hidden,
          .heads = config.heads,
          .kv_heads = config.kv_heads,
          .head_dim = config.head_dim,
          .ffn = config.ffn,
          .mlp_chunk = config.mlp_chunk,
          .qk_norm = config.qk_norm,
          .precision = precision};
}

std::string prefix_of(std::int64_t layer) {
  return fmt::format("model.layers.{}.", layer);
}

LlamaState& own(LayerState& state) {
  return static_cast<LlamaState&>(state);
}

// [c,H,D] as rows [c, H*D] of a matrix product, and back.
Tensor rows(const Tensor& x) {
  return x.view({x.size(0), x.size(1) * x.size(2)});
}

class LlamaLayerKind final : public LayerKind {
 public:
  std::string_view name() const override { return "softmax"; }
  std::string_view summary() const override {
    return "softmax attention, full or causal, optional window and sink, with a SwiGLU MLP";
  }

  std::vector<ParameterSpec> parameters(const ModelConfig& config, std::int64_t layer) const override {
    const std::int64_t E = config.hidden, F = config.ffn, D = config.head_dim;
    const std::int64_t q_rows = config.heads * D, kv_rows = config.kv_heads * D;
    std::vector<ParameterSpec> specs;
    const auto add = [&, prefix = prefix_of(layer)](std::string_view name, std::vector<std::int64_t> shape,
                                                    InitialValue initial) {
      specs.push_back({fmt::format("{}{}", prefix, name), std::move(shape), initial});
    };
    add("input_layernorm.weight", {E}, InitialValue::kOne);
    add("self_attn.q_proj.weight", {q_rows, E}, InitialValue::kNormal);
    add("self_attn.k_proj.weight", {kv_rows, E}, InitialValue::kNormal);
    add("self_attn.v_proj.weight", {kv_rows, E}, InitialValue::kNormal);
    if (config.qkv_bias) {
      add("self_attn.q_proj.bias", {q_rows}, InitialValue::kZero);
      add("self_attn.k_proj.bias", {kv_rows}, InitialValue::kZero);
      add("self_attn.v_proj.bias", {kv_rows}, InitialValue::kZero);
    }
    if (config.qk_norm) {
      add("self_attn.q_norm.weight", {D}, InitialValue::kOne);
      add("self_attn.k_norm.weight", {D}, InitialValue::kOne);
    }
    if (config.attention_of(layer).sink) {
      add("self_attn.sinks", {config.heads}, InitialValue::kZero);
      specs.back().copy = ComputeCopy::kF32;  // attention takes its logits in fp32 alone
    }
    add("self_attn.o_proj.weight", {E, q_rows}, InitialValue::kNormalOutput);
    add("post_attention_layernorm.weight", {E}, InitialValue::kOne);
    add("mlp.gate_proj.weight", {F, E}, InitialValue::kNormal);
    add("mlp.up_proj.weight", {F, E}, InitialValue::kNormal);
    add("mlp.down_proj.weight", {E, F}, InitialValue::kNormalOutput);
    return specs;
  }

  std::unique_ptr<SplitLayer> make(const ModelConfig& config, std::int64_t layer, DType precision,
                                   const ParameterStore& weights) const override {
    return std::make_unique<LlamaLayer>(config, layer, precision, weights);
  }

  LayerBytes bytes(const ModelConfig& config, DType precision, std::int64_t tokens) const override {
    const LlamaShape shape = shape_of(config, precision);
    const auto count = [&](const auto& phase) {
      SizeCounter saved, passing, scratch;
      phase(LlamaAllocations<SizeCounter>{saved, passing, scratch, shape, tokens});
      return PhaseBytes{saved.used_bytes(), passing.used_bytes(), scratch.used_bytes()};
    };
    const bool in_chunks = shape.mlp_chunk != 0;
    const std::int64_t at_once = in_chunks ? std::min(tokens, shape.mlp_chunk) : tokens;
    LlamaState state;
    return {.pre_forward = count([&](const auto& take) { take.pre_forward(state); }),
            .post_forward = count([&](const auto& take) {
              take.post_forward(state);
              if (in_chunks) take.mlp_of_chunk(at_once);
            }),
            .post_backward = count([&](const auto& take) {
              take.post_backward(state);
              if (in_chunks) take.mlp_of_chunk(at_once);
              take.dactivated(at_once);
            })};
  }
};

}  // namespace

const LayerKind& llama_layer_kind() {
  static const LlamaLayerKind kind;
  return kind;
}

LlamaLayer::LlamaLayer(const ModelConfig& config, std::int64_t layer, DType precision, const ParameterStore& weights)
    : shape_(shape_of(config, precision)), norm_eps_(static_cast<float>(config.norm_eps)) {
  const std::string prefix = prefix_of(layer);
  const auto weight = [&](std::string_view name) { return weights.weight(fmt::format("{}{}.weight", prefix, name)); };
  const auto projection = [&](std::string_view name) {
    Linear linear{.weight = weight(name), .bias = {}};
    if (config.qkv_bias) linear.bias = weights.weight(fmt::format("{}{}.bias", prefix, name));
    return linear;
  };
  input_norm_ = weight("input_layernorm");
  q_proj_ = projection("self_attn.q_proj");
  k_proj_ = projection("self_attn.k_proj");
  v_proj_ = projection("self_attn.v_proj");
  if (config.qk_norm) {
    q_norm_ = weight("self_attn.q_norm");
    k_norm_ = weight("self_attn.k_norm");
  }
  if (config.attention_of(layer).sink) sink_ = weights.weight(prefix + "self_attn.sinks");
  o_proj_.weight = weight("self_attn.o_proj");
  middle_norm_ = weight("post_attention_layernorm");
  gate_proj_.weight = weight("mlp.gate_proj");
  up_proj_.weight = weight("mlp.up_proj");
  down_proj_.weight = weight("mlp.down_proj");
}

void LlamaLayer::pre_forward(const LayerCall& call, LayerState& layer_state) const {
  LlamaState& s = own(layer_state);
  const Exec& exec = call.exec;
  allocations_in(call, shape_, s.input.size(0)).pre_forward(s);
  rms_norm_forward(
      exec, {.x = s.input, .weight = input_norm_.value, .y = s.input_normed, .rstd = s.input_rstd, .eps = norm_eps_});
  q_proj_.forward(exec, s.input_normed, rows(shape_.qk_norm ? s.q_raw : s.q));
  k_proj_.forward(exec, s.input_normed, rows(shape_.qk_norm ? s.k_raw : s.k));
  v_proj_.forward(exec, s.input_normed, rows(s.v));
  if (shape_.qk_norm) {
    rms_norm_forward(exec, {.x = s.q_raw, .weight = q_norm_.value, .y = s.q, .rstd = s.q_rstd, .eps = norm_eps_});
    rms_norm_forward(exec, {.x = s.k_raw, .weight = k_norm_.value, .y = s.k, .rstd = s.k_rstd, .eps = norm_eps_});
  }
  rotary(exec, s.q, call.cos, call.sin, RotaryDirection::kForward);
  rotary(exec, s.k, call.cos, call.sin, RotaryDirection::kForward);
}

void LlamaLayer::mlp_forward(const Exec& exec, const Tensor& input, const Tensor& attention_out,
                             const LlamaMlp& mlp) const {
  o_proj_.forward_onto(exec, rows(attention_out), input, mlp.middle);
  rms_norm_forward(
      exec, {.x = mlp.middle, .weight = middle_norm_.value, .y = mlp.normed, .rstd = mlp.rstd, .eps = norm_eps_});
  gate_proj_.forward(exec, mlp.normed, mlp.gate);
  up_proj_.forward(exec, mlp.normed, mlp.up);
  swiglu_forward(exec, mlp.gate, mlp.up, mlp.activated);
}

void LlamaLayer::mlp_backward(const Exec& exec, const LlamaMlp& mlp, const Tensor& doutput, const Tensor& dactivated,
                              const Tensor& dmiddle) const {
  down_proj_.input_backward(exec, doutput, dactivated, WriteMode::kOverwrite);
  swiglu_backward(exec, mlp.gate, mlp.up, dactivated, mlp.gate, mlp.up);
  gate_proj_.input_backward(exec, mlp.gate, dmiddle, WriteMode::kOverwrite);
  up_proj_.input_backward(exec, mlp.up, dmiddle, WriteMode::kAccumulate);
  rms_norm_backward(exec, {.x = mlp.middle,
                           .weight = middle_norm_.value,
                           .rstd = mlp.rstd,
                           .dy = dmiddle,
                           .dx = dmiddle,
                           .dweight = middle_norm_.gradient});
}

void LlamaLayer::mlp_weight_backward(const Exec& exec, const LlamaMlp& mlp, const Tensor& doutput) const {
  down_proj_.weight_backward(exec, mlp.activated, doutput);
  gate_proj_.weight_backward(exec, mlp.normed, mlp.gate);
  up_proj_.weight_backward(exec, mlp.normed, mlp.up);
}

template <class Body>
void LlamaLayer::for_each_chunk(const LayerCall& call, const LlamaState& state, const Body& body) const {
  const std::int64_t tokens = state.input.size(0);
  const auto allocations = allocations_in(call, shape_, tokens);
  for (std::int64_t begin = 0; begin < tokens; begin += shape_.mlp_chunk) {
    const std::int64_t end = std::min(tokens, begin + shape_.mlp_chunk);
    Arena::Scope scope(call.scratch);
    const LlamaMlp mlp = allocations.mlp_of_chunk(end - begin);
    mlp_forward(call.exec, state.input.narrow(0, begin, end), state.attention_out.narrow(0, begin, end), mlp);
    body(begin, end, mlp);
  }
}

void LlamaLayer::post_recompute(const LayerCall& call, LayerState& layer_state) const {
  LlamaState& s = own(layer_state);
  allocations_in(call, shape_, s.input.size(0)).post_forward(s);
  if (shape_.mlp_chunk == 0) mlp_forward(call.exec, s.input, s.attention_out, s.mlp);
}

void LlamaLayer::post_forward(const LayerCall& call, LayerState& layer_state, const Tensor& output) const {
  post_recompute(call, layer_state);
  const LlamaState& s = own(layer_state);
  const auto finish = [&](const LlamaMlp& mlp, const Tensor& out) {
    down_proj_.forward_onto(call.exec, mlp.activated, mlp.middle, out);
  };
  if (shape_.mlp_chunk == 0) return finish(s.mlp, output);
  for_each_chunk(call, s, [&](std::int64_t begin, std::int64_t end, const LlamaMlp& mlp) {
    finish(mlp, output.narrow(0, begin, end));
  });
}

void LlamaLayer::post_backward(const LayerCall& call, LayerState& layer_state, const Tensor& doutput) const {
  LlamaState& s = own(layer_state);
  const Exec& exec = call.exec;
  const std::int64_t tokens = s.input.size(0);
  const auto allocations = allocations_in(call, shape_, tokens);
  allocations.post_backward(s);
  s.doutput = doutput;
  if (shape_.mlp_chunk == 0) {
    Arena::Scope scope(call.scratch);
    mlp_backward(exec, s.mlp, doutput, allocations.dactivated(tokens), s.dmiddle);
  } else {
    for_each_chunk(call, s, [&](std::int64_t begin, std::int64_t end, const LlamaMlp& mlp) {
      const Tensor dout = doutput.narrow(0, begin, end);
      mlp_backward(exec, mlp, dout, allocations.dactivated(end - begin), s.dmiddle.narrow(0, begin, end));
      mlp_weight_backward(exec, mlp, dout);
    });
  }
  add(exec, doutput, s.dmiddle, s.dmiddle);
  o_proj_.input_backward(exec, s.dmiddle, rows(s.dattention_out), WriteMode::kOverwrite);
}

void LlamaLayer::pre_backward(const LayerCall& call, LayerState& layer_state, const Tensor& dinput) const {
  LlamaState& s = own(layer_state);
  const Exec& exec = call.exec;
  rotary(exec, s.dq, call.cos, call.sin, RotaryDirection::kBackward);
  rotary(exec, s.dk, call.cos, call.sin, RotaryDirection::kBackward);
  if (shape_.qk_norm) {
    const auto norm_backward = [&](const Tensor& raw, const Weight& gain, const Tensor& rstd, const Tensor& dx) {
      rms_norm_backward(exec,
                        {.x = raw, .weight = gain.value, .rstd = rstd, .dy = dx, .dx = dx, .dweight = gain.gradient});
    };
    norm_backward(s.q_raw, q_norm_, s.q_rstd, s.dq);
    norm_backward(s.k_raw, k_norm_, s.k_rstd, s.dk);
  }
  q_proj_.input_backward(exec, rows(s.dq), dinput, WriteMode::kOverwrite);
  k_proj_.input_backward(exec, rows(s.dk), dinput, WriteMode::kAccumulate);
  v_proj_.input_backward(exec, rows(s.dv), dinput, WriteMode::kAccumulate);
  rms_norm_backward(exec, {.x = s.input,
                           .weight = input_norm_.value,
                           .rstd = s.input_rstd,
                           .dy = dinput,
                           .dx = dinput,
                           .dweight = input_norm_.gradient});
  add(exec, s.dmiddle, dinput, dinput);
}

void LlamaLayer::weight_backward(const LayerCall& call, const LayerState& layer_state) const {
  const LlamaState& s = static_cast<const LlamaState&>(layer_state);
  const Exec& exec = call.exec;
  if (shape_.mlp_chunk == 0) mlp_weight_backward(exec, s.mlp, s.doutput);
  o_proj_.weight_backward(exec, rows(s.attention_out), s.dmiddle);
  q_proj_.weight_backward(exec, s.input_normed, rows(s.dq));
  k_proj_.weight_backward(exec, s.input_normed, rows(s.dk));
  v_proj_.weight_backward(exec, s.input_normed, rows(s.dv));
}

}  // namespace longspan
