// LayerPass: one layer with its attention, forward and backward, for one micro-batch.
#pragma once

#include "models/split_layer.h"
#include "models/stage_shape.h"
#include "models/weight_watch.h"
#include "parallel/context/executor.h"

namespace longspan {

// The state's first group is given by the caller. Each call tells the watch of progress between its operators.
struct LayerPass {
  const LayerCall& call;
  const SplitLayer& layer;
  LayerState& state;
  ContextAttention& attention;
  const StageShape& shape;
  WeightWatch& watch;

  // input -> output [c,E], attention_out, lse.
  void forward(const Tensor& output) const;
  // What `recompute` has not kept of that, to the bit.
  void compute_again(Recompute recompute) const;
  // doutput -> dinput, both [c,E]; takes the attention's gradients from call.saved.
  void backward_input(const Tensor& doutput, const Tensor& dinput) const;
  void backward_weights() const;

 private:
  void run_attention() const;
};

}  // namespace longspan
