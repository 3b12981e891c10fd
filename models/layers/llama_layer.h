// LlamaLayer: the softmax-attention layer of the Llama and Qwen families.
//
//   q, k, v = rotate(norm_head(W_qkv norm(x) + b)),   h = x + W_o attention(q, k, v),
//   y = h + W_down (silu(W_gate norm(h)) * W_up norm(h)),
// with RMSNorm before both halves, biases b of Qwen 2 and norms of each query and key head of Qwen 3 where configured.
//
// The second half treats each token by itself. With model.mlp_chunk it takes so many at a time, from norm(h) on,
// forward and again backward, where its weights' gradients are then taken at once: its inner tensors exist for one
// chunk only.
#pragma once

#include "models/layers/layer_list.h"
#include "models/linear.h"

namespace longspan {

// The sizes that its memory follows from.
struct LlamaShape {
  std::int64_t hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0;
  std::int64_t mlp_chunk = 0;  // 0: all tokens
  bool qk_norm = false;
  DType precision = DType::kF32;
};

// From attention to the layer's output, for c tokens: all of the rank's, or one chunk.
struct LlamaMlp {
  Tensor middle;        // [c,E] h, the residual stream between attention and MLP
  Tensor rstd, normed;  // [c] fp32, [c,E]
  Tensor gate, up;      // [c,F]; backward turns them in place into their gradients
  Tensor activated;     // [c,F] silu(gate) * up
};

struct LlamaState final : LayerState {
  // pre_forward
  Tensor input_rstd, input_normed;  // [c] fp32, [c,E]
  Tensor q_raw, k_raw;              // [c,H,D], [c,Hkv,D] before the heads' norms; absent without qk_norm
  Tensor q_rstd, k_rstd;            // [c,H], [c,Hkv] fp32; likewise
  // post_forward
  LlamaMlp mlp;  // absent where it is taken in chunks
  // post_backward
  Tensor doutput;  // [c,E] the caller's
  Tensor dmiddle;  // [c,E]
};

class LlamaLayer final : public SplitLayer {
 public:
  LlamaLayer(const ModelConfig& config, std::int64_t layer, DType precision, const ParameterStore& weights);

  std::unique_ptr<LayerState> make_state() const override { return std::make_unique<LlamaState>(); }
  Weight sink() const override { return sink_; }
  void pre_forward(const LayerCall& call, LayerState& state) const override;
  void post_forward(const LayerCall& call, LayerState& state, const Tensor& output) const override;
  void post_recompute(const LayerCall& call, LayerState& state) const override;
  void post_backward(const LayerCall& call, LayerState& state, const Tensor& doutput) const override;
  void pre_backward(const LayerCall& call, LayerState& state, const Tensor& dinput) const override;
  void weight_backward(const LayerCall& call, const LayerState& state) const override;

 private:
  // input, attention_out -> mlp's tensors.
  void mlp_forward(const Exec& exec, const Tensor& input, const Tensor& attention_out, const LlamaMlp& mlp) const;
  // doutput, mlp's tensors -> dmiddle through the MLP alone. dactivated [c,F] is scratch.
  void mlp_backward(const Exec& exec, const LlamaMlp& mlp, const Tensor& doutput, const Tensor& dactivated,
                    const Tensor& dmiddle) const;
  void mlp_weight_backward(const Exec& exec, const LlamaMlp& mlp, const Tensor& doutput) const;
  // Chunk after chunk, mlp_forward and then body(begin, end, mlp). What is allocated for a chunk goes with it.
  template <class Body>
  void for_each_chunk(const LayerCall& call, const LlamaState& state, const Body& body) const;

  LlamaShape shape_;
  float norm_eps_;
  Linear q_proj_, k_proj_, v_proj_, o_proj_, gate_proj_, up_proj_, down_proj_;
  Weight input_norm_, middle_norm_;  // [E]
  Weight q_norm_, k_norm_;           // [D]; absent without qk_norm
  Weight sink_;                      // [H] fp32; absent: none
};

const LayerKind& llama_layer_kind();

}  // namespace longspan
