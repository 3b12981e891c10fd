#include "trainer/forecast/layer_time.h"

#include <cmath>
#include <vector>

namespace longspan {
namespace {

// Of one projection, from so many columns to so many.
struct Projection {
  double in = 0, out = 0;
  double flops() const { return 2 * in * out; }
};

struct LayerShape {
  explicit LayerShape(const ModelConfig& model)
      : hidden(static_cast<double>(model.hidden)),
        ffn(static_cast<double>(model.ffn)),
        queries(static_cast<double>(model.heads * model.head_dim)),
        keys(static_cast<double>(model.kv_heads * model.head_dim)),
        normed(model.qk_norm ? queries + keys : 0),
        pre{{hidden, queries}, {hidden, keys}, {hidden, keys}},
        post{{queries, hidden}, {hidden, ffn}, {hidden, ffn}},
        down{ffn, hidden} {}
  double hidden, ffn, queries, keys, normed;
  std::vector<Projection> pre, post;  // post: as far as backward needs it again
  Projection down;
};

struct ProductTime {
  double forward = 0, input_gradient = 0, weight_gradient = 0;
};

ProductTime time_of(const Projection& projection, const Machine& machine) {
  const ProductRate rate = machine.product_rate(std::sqrt(projection.in * projection.out));
  const double flops = projection.flops();
  return {flops / rate.forward, flops / rate.input_gradient, flops / rate.weight_gradient};
}

ProductTime time_of(const std::vector<Projection>& projections, const Machine& machine) {
  ProductTime sum;
  for (const Projection& projection : projections) {
    const ProductTime time = time_of(projection, machine);
    sum.forward += time.forward;
    sum.input_gradient += time.input_gradient;
    sum.weight_gradient += time.weight_gradient;
  }
  return sum;
}

double width_of(DType precision) {
  return static_cast<double>(size_of(precision));
}

}  // namespace

LayerTime layer_time(const ModelConfig& model, const Machine& machine) {
  const LayerShape shape(model);
  const ProductTime pre = time_of(shape.pre, machine), post = time_of(shape.post, machine);
  const ProductTime down = time_of(shape.down, machine);
  const double each = width_of(machine.precision) / machine.bytes_per_second;
  // Read and written: norms x, y; rotary positions in place; SwiGLU both inputs, the output; residual streams.
  const double pre_rows = 2 * shape.hidden + 2 * (shape.queries + shape.keys) + 2 * shape.normed;
  const double post_rows = 3 * shape.ffn + 2 * shape.hidden, residuals = 2 * shape.hidden;
  // SwiGLU's three inputs and two gradients; of norms x, dy, dx; two sums of streams; rotary positions.
  const double gradient_rows = 5 * shape.ffn + 12 * shape.hidden + 2 * (shape.queries + shape.keys) + 3 * shape.normed;
  return {.pre_forward = pre.forward + pre_rows * each,
          .post_forward = post.forward + down.forward + (post_rows + 2 * residuals) * each,
          .recompute = pre.forward + post.forward + (pre_rows + post_rows + residuals) * each,
          .input_gradient = pre.input_gradient + post.input_gradient + down.input_gradient + gradient_rows * each,
          .weight_gradient = pre.weight_gradient + post.weight_gradient + down.weight_gradient};
}

EndsTime ends_time(const ModelConfig& model, const Machine& machine) {
  const double hidden = static_cast<double>(model.hidden), vocab = static_cast<double>(model.vocab);
  const double width = width_of(machine.precision), gradient = width_of(DType::kF32);
  // The final norm and its gradient; the head's three products with the loss are measured as one.
  const double norms = 5 * hidden * width / machine.bytes_per_second;
  return {.embedding_forward = 2 * hidden * width / machine.bytes_per_second,
          .embedding_backward = hidden * (width + 2 * gradient) / machine.bytes_per_second,
          .head = 6 * hidden * vocab / machine.head_rate + norms};
}

LayerOperators layer_operators(const ModelConfig& model) {
  LayerOperators operators;
  if (model.qk_norm) {
    operators.pre_forward += 2;
    operators.input_gradient += 2;
  }
  return operators;
}

CarryBytes carry_bytes(const ModelConfig& model, DType precision) {
  const double width = width_of(precision), sum = width_of(DType::kF32);
  const double queries = static_cast<double>(model.heads * model.head_dim);
  const double keys = static_cast<double>(model.kv_heads * model.head_dim);
  // Sums are cleared, and at the end read and written as activations; backward first reads outputs and their gradients.
  return {.forward = queries * (2 * sum + width),
          .backward = 2 * queries * width + (queries + 2 * keys) * (2 * sum + width)};
}

double projection_flops(const ModelConfig& model) {
  const LayerShape shape(model);
  double flops = shape.down.flops();
  for (const std::vector<Projection>* side : {&shape.pre, &shape.post})
    for (const Projection& projection : *side) flops += projection.flops();
  return flops;
}

}  // namespace longspan
