#include "models/layer_pass.h"

namespace longspan {

void LayerPass::run_attention() const {
  attention.forward(call.exec, {.q = state.q,
                                .k = state.k,
                                .v = state.v,
                                .sink = layer.sink().value,
                                .out = state.attention_out,
                                .lse = state.lse});
  watch.progress();
}

void LayerPass::forward(const Tensor& output) const {
  layer.pre_forward(call, state);
  watch.progress();
  run_attention();
  layer.post_forward(call, state, output);
  watch.progress();
}

void LayerPass::compute_again(Recompute recompute) const {
  if (recompute == Recompute::kNone) return;
  layer.pre_forward(call, state);
  watch.progress();
  if (recompute == Recompute::kFull) run_attention();
  layer.post_recompute(call, state);
  watch.progress();
}

void LayerPass::backward_input(const Tensor& doutput, const Tensor& dinput) const {
  layer.post_backward(call, state, doutput);
  watch.progress();
  const auto [dq, dk, dv] = shape.new_attention_gradients(call.saved);
  state.dq = dq;
  state.dk = dk;
  state.dv = dv;
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
  watch.progress();
  layer.pre_backward(call, state, dinput);
  watch.progress();
}

void LayerPass::backward_weights() const {
  layer.weight_backward(call, state);
  watch.progress();
}

}  // namespace longspan
