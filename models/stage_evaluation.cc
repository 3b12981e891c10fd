// A stage's forward pass alone, which keeps nothing.
#include <algorithm>
#include <array>

#include "kernels/ops/layer_ops.h"
#include "models/kept_layers.h"
#include "models/layer_pass.h"
#include "models/layers/layer_list.h"
#include "models/model_impl.h"
#include "models/size_counter.h"

namespace longspan {
namespace {

// Where layer l reads and the one before it writes. Two streams take turns between the stage's ends.
class TurningStreams {
 public:
  // Allocator: Arena, or SizeCounter without ends.
  template <class Allocator>
  TurningStreams(Allocator& arena, const StageShape& shape, const StageEnds& ends) : span_(shape.span), ends_(ends) {
    for (std::int64_t l = span_.embeds ? 0 : 1; l < span_.layers() + (span_.has_head ? 1 : 0); ++l)
      if (!turns_[index(l)]) turns_[index(l)] = shape.new_stream(arena, "stream");
  }

  Tensor operator[](std::int64_t layer) const {
    if (layer == 0 && !span_.embeds) return ends_.input;
    return layer == span_.layers() && !span_.has_head ? ends_.output : turns_[index(layer)];
  }

 private:
  static std::size_t index(std::int64_t layer) { return static_cast<std::size_t>(layer % 2); }

  StageSpan span_;
  StageEnds ends_;
  std::array<Tensor, 2> turns_;
};

}  // namespace

void Model::evaluate_stage(const StageCall& call, int stage_index, const Tensor& input, const Tensor& output,
                           const Tensor& totals, Arena& activations) {
  const Impl::Stage& stage = impl_->stage(stage_index);
  impl_->check(call, stage.span);
  WeightWatch nobody;
  WeightWatch& watch = call.watch != nullptr ? *call.watch : nobody;
  const StageShape shape = impl_->shape_of(stage.span, call.batch.positions.size(0));
  const std::int64_t layers = stage.span.layers();

  Arena::Scope scope(activations);
  const RotaryTables tables = shape.new_rotary_tables(activations);
  impl_->fill_rotary_tables(call.exec, call.batch.positions, tables);
  const LayerCall layer_call{call.exec, activations, activations, activations, tables.cos, tables.sin};
  const TurningStreams streams(activations, shape, {input, output});
  if (stage.span.embeds) {
    watch.before_use(stage.embedding_unit);
    embedding_forward(call.exec, call.batch.tokens, impl_->embedding.value, streams[0]);
    watch.progress();
  }
  for (std::int64_t l = 0; l < layers; ++l) {
    const auto place = static_cast<std::size_t>(l);
    watch.before_use(stage.layer_units[place]);
    Arena::Scope layer_scope(activations);
    const SplitLayer& layer = *stage.layers[place];
    const auto state = layer.make_state();
    state->input = streams[l];
    state->attention_out = shape.new_attention_out(activations);
    state->lse = shape.new_lse(activations);
    ContextAttention& attention = impl_->attention_of(call, stage.span.begin + l);
    LayerPass{layer_call, layer, *state, attention, shape, watch}.forward(streams[l + 1]);
  }
  if (!stage.span.has_head) return;
  impl_->before_head(stage, watch);
  const Tensor x = streams[layers];
  const Tensor normed = layers > 0 ? x : shape.new_stream(activations, "final normed");  // else the caller's
  impl_->normalize(call.exec, x, normed, {});
  head_loss(call.exec, {.hidden = normed,
                        .weight = impl_->head.value,
                        .labels = call.batch.labels,
                        .dhidden = {},
                        .dweight = {},
                        .totals = totals});
  watch.progress();
}

std::int64_t evaluation_bytes(const ModelConfig& config, const StageSpan& stage, DType precision, std::int64_t tokens) {
  const StageShape shape{config, stage, precision, tokens};
  SizeCounter always, attention, normed;
  shape.new_rotary_tables(always);
  TurningStreams(always, shape, {});
  shape.new_attention_out(attention);
  shape.new_lse(attention);
  if (stage.has_head && stage.layers() == 0) shape.new_stream(normed, "final normed");
  std::int64_t most = normed.used_bytes();
  for (std::int64_t l = stage.begin; l < stage.end; ++l) {
    const LayerBytes bytes = layer_kind(config.attention_of(l).kind).bytes(config, precision, tokens);
    most = std::max(most, attention.used_bytes() + bytes.kept_by_forward() + bytes.post_forward.scratch);
  }
  return always.used_bytes() + most;
}

}  // namespace longspan
