// Layer time: what the parts of a model's passes take on a machine, but for the core attention.
#pragma once

#include "models/model_config.h"
#include "trainer/forecast/machine.h"

namespace longspan {

// Of one layer, in seconds for one token of a rank, besides what each operator takes whatever its size. Before and
// after the core attention; forward again as far as backward needs it.
struct LayerTime {
  double pre_forward = 0, post_forward = 0, recompute = 0;
  double input_gradient = 0, weight_gradient = 0;
};
// Of the look-up at the beginning and the head at the end. The loss belongs to the backward: head, loss and both their
// gradients are one operator.
struct EndsTime {
  double embedding_forward = 0, embedding_backward = 0, head = 0;
};
// Operators of one layer, each of which takes machine.seconds_per_operator.
struct LayerOperators {
  int pre_forward = 5, post_forward = 6, input_gradient = 14, weight_gradient = 7, attention = 4;
};

LayerTime layer_time(const ModelConfig& model, const Machine& machine);
EndsTime ends_time(const ModelConfig& model, const Machine& machine);
LayerOperators layer_operators(const ModelConfig& model);
// Bytes for each token that begin and end the carries of one layer's core attention, forward and backward.
struct CarryBytes {
  double forward = 0, backward = 0;
};
CarryBytes carry_bytes(const ModelConfig& model, DType precision);

// Operations of one layer's projections in forward, for one token; each of the two gradients takes as many.
double projection_flops(const ModelConfig& model);

}  // namespace longspan
