// SplitLayer: a transformer layer cut open around its core attention, which belongs to the context plan.
//
// Forward is pre_forward, attention, post_forward; backward is post_backward, attention's backward, pre_backward and,
// at any later time, weight_backward. Activation gradients are written (=), weight gradients added to (+=). c is the
// number of tokens of this rank; zero is legal everywhere.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/core/exec.h"
#include "models/parameters.h"

namespace longspan {

// What the phases of a layer of one micro-batch are given. They never release what they take from the first two arenas:
// lifetimes are the caller's scopes. All three may be one.
struct LayerCall {
  const Exec& exec;
  Arena& saved;     // what weight_backward reads, too
  Arena& passing;   // what no phase after pre_backward reads
  Arena& scratch;   // released when the phase returns
  Tensor cos, sin;  // [c, D/2] fp32
};

// What one layer keeps of one micro-batch, in the model's precision unless stated. Each kind of layer adds its own. The
// caller provides the tensors of the first group before the phase that reads or writes them.
//   pre_forward … post_forward       input, what these two allocate
//   … post_backward … pre_backward   all of it
//   … weight_backward                attention_out, dq, dk, dv, what the phases took from `saved`, and the gradient
//                                    handed to post_backward
struct LayerState {
  virtual ~LayerState() = default;

  Tensor input;          // [c,E] residual stream
  Tensor attention_out;  // [c,H,D]
  Tensor lse;            // [c,H] fp32
  Tensor dq, dk, dv;     // like q, k, v; pre_backward turns them in place into gradients of the projections

  Tensor q, k, v;         // [c,H,D], [c,Hkv,D], [c,Hkv,D]: from pre_forward
  Tensor dattention_out;  // [c,H,D]: from post_backward
};

class SplitLayer {
 public:
  virtual ~SplitLayer() = default;

  virtual std::unique_ptr<LayerState> make_state() const = 0;
  // The attention's learned logit a head and its gradient, both [H] fp32; absent: none.
  virtual Weight sink() const = 0;

  // input -> q, k, v.
  virtual void pre_forward(const LayerCall& call, LayerState& state) const = 0;
  // input, attention_out -> output [c,E].
  virtual void post_forward(const LayerCall& call, LayerState& state, const Tensor& output) const = 0;
  // Allocates and computes again, to the bit, what post_forward kept, without its output.
  virtual void post_recompute(const LayerCall& call, LayerState& state) const = 0;

  // doutput [c,E] -> dattention_out, and the part of dinput that goes past the attention, kept in the state. doutput
  // must live and stay unchanged until weight_backward.
  virtual void post_backward(const LayerCall& call, LayerState& state, const Tensor& doutput) const = 0;
  // dq, dk, dv -> dinput [c,E]. Gains of norms take their gradients here and in post_backward: the operator yields them
  // with the input's gradient.
  virtual void pre_backward(const LayerCall& call, LayerState& state, const Tensor& dinput) const = 0;
  // Gradients of matrices and biases, but for those that a layer takes with its inputs' (see LlamaLayer, chunks of the
  // MLP). Takes no memory.
  virtual void weight_backward(const LayerCall& call, const LayerState& state) const = 0;
};

// Bytes a phase takes from the arenas of its call; from `scratch` at most.
struct PhaseBytes {
  std::int64_t saved = 0, passing = 0, scratch = 0;
  std::int64_t kept() const { return saved + passing; }
};

// post_recompute takes what post_forward does, without its scratch; pre_backward and weight_backward nothing.
struct LayerBytes {
  PhaseBytes pre_forward, post_forward, post_backward;
  std::int64_t kept_by_forward() const { return pre_forward.kept() + post_forward.kept(); }
};

}  // namespace longspan
