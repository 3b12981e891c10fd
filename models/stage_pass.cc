#include "models/stage_pass.h"

#include <optional>
#include <utility>

#include "kernels/ops/layer_ops.h"
#include "models/kept_layers.h"
#include "models/layer_pass.h"
#include "models/model_impl.h"

namespace longspan {
namespace {

enum class Progress : std::uint8_t { kBegun, kForward, kInputGradient, kDone };

}  // namespace

struct StagePass::Impl {
  Impl(Model::Impl& the_model, int stage_index, const Call& the_call, const PassMemory& the_memory, BackwardKind kind)
      : model(the_model),
        stage(model.stage(stage_index)),
        call(the_call),
        memory(the_memory),
        backward(kind),
        watch(call.watch != nullptr ? *call.watch : nobody),
        shape(model.shape_of(stage.span, call.batch.positions.size(0))),
        scope(memory.kept) {}

  // Of one layer, counted from the stage's first.
  LayerPass layer_pass(const LayerCall& layer_call, std::int64_t l) {
    const auto place = static_cast<std::size_t>(l);
    ContextAttention& attention = model.attention_of(call, stage.span.begin + l);
    return {layer_call, *stage.layers[place], *states[place], attention, shape, watch};
  }
  LayerCall layer_call(Arena& saved, Arena& passing) const {
    return {call.exec, saved, passing, memory.transient, tables.cos, tables.sin};
  }
  void place(std::int64_t l, const KeptLayer& tensors);
  void advance(Progress from, Progress to);

  void forward_layer(std::int64_t l);
  // The gradient of what the head reads; its weights' are added.
  Tensor head_gradient(const Gradient& gradient);
  void backward_layer(std::int64_t l, const Tensor& doutput, const Tensor& dinput);
  void backward_embedding(const Tensor& dinput);
  // From the loss or doutput to the gradient of what the first layer reads, which it returns.
  Tensor propagate(const Gradient& gradient);

  // Where what the backward's weights' half reads is taken from.
  Arena& lasting() const { return backward == BackwardKind::kHalves ? memory.kept : memory.transient; }

  Model::Impl& model;
  const Model::Impl::Stage& stage;
  const Call call;
  const PassMemory memory;
  const BackwardKind backward;
  WeightWatch nobody;
  WeightWatch& watch;
  const StageShape shape;
  const Arena::Scope scope;
  Progress progress = Progress::kBegun;
  RotaryTables tables;
  std::optional<KeptLayers> kept;
  std::vector<std::unique_ptr<LayerState>> states;
  Tensor first_gradient;  // kHalves: of what the first layer reads
};

void StagePass::Impl::advance(Progress from, Progress to) {
  LS_CHECK(progress == from, "a pass is at {} where {} comes before {}", static_cast<int>(progress),
           static_cast<int>(from), static_cast<int>(to));
  progress = to;
}

void StagePass::Impl::place(std::int64_t l, const KeptLayer& tensors) {
  LayerState& state = *states[static_cast<std::size_t>(l)];
  state.input = tensors.input;
  state.attention_out = tensors.attention_out;
  state.lse = tensors.lse;
}

void StagePass::Impl::forward_layer(std::int64_t l) {
  const auto index = static_cast<std::size_t>(l);
  watch.before_use(stage.layer_units[index]);
  states.push_back(stage.layers[index]->make_state());
  place(l, kept->begin_forward(call.exec, l));
  const Recompute recompute = recompute_of(model.config, l);
  std::optional<Arena::Scope> released;
  if (recompute != Recompute::kNone) released.emplace(memory.transient);
  Arena& inner = recompute == Recompute::kNone ? memory.kept : memory.transient;
  if (recompute == Recompute::kFull) {
    states[index]->attention_out = shape.new_attention_out(inner);
    states[index]->lse = shape.new_lse(inner);
  }
  layer_pass(layer_call(inner, inner), l).forward(kept->stream(l + 1));
  kept->end_forward(call.exec, l);
}

Tensor StagePass::Impl::head_gradient(const Gradient& gradient) {
  model.before_head(stage, watch);
  const Tensor x = kept->stream(stage.span.layers());
  const bool is_input = stage.span.layers() == 0;
  const Tensor dx = is_input ? gradient.dinput : shape.new_stream(lasting(), "stream gradient");
  Arena::Scope released(memory.transient);
  const Tensor rstd = shape.new_final_rstd(memory.transient);
  const Tensor normed = shape.new_stream(memory.transient, "final normed");
  model.normalize(call.exec, x, normed, rstd);
  head_loss(call.exec, {.hidden = normed,
                        .weight = model.head.value,
                        .labels = call.batch.labels,
                        .grad_scale = gradient.grad_scale,
                        .dhidden = dx,
                        .dweight = model.head.gradient,
                        .totals = gradient.totals});
  watch.progress();
  const Weight& norm = model.final_norm;
  rms_norm_backward(call.exec,
                    {.x = x, .weight = norm.value, .rstd = rstd, .dy = dx, .dx = dx, .dweight = norm.gradient});
  watch.gradients_done(stage.head_unit);
  watch.progress();
  return dx;
}

void StagePass::Impl::backward_layer(std::int64_t l, const Tensor& doutput, const Tensor& dinput) {
  const auto index = static_cast<std::size_t>(l);
  place(l, kept->begin_backward(call.exec, l));
  Arena::Scope released(memory.transient);
  const Recompute recompute = recompute_of(model.config, l);
  if (recompute == Recompute::kFull) {
    states[index]->attention_out = shape.new_attention_out(lasting());
    states[index]->lse = shape.new_lse(memory.transient);
  }
  const LayerCall in = layer_call(lasting(), memory.transient);
  const LayerPass pass = layer_pass(in, l);
  pass.compute_again(recompute);
  pass.backward_input(doutput, dinput);
  if (backward == BackwardKind::kWhole) {
    pass.backward_weights();
    watch.gradients_done(stage.layer_units[index]);
    states[index].reset();
  }
  kept->end_backward(call.exec, l);
}

void StagePass::Impl::backward_embedding(const Tensor& dinput) {
  embedding_backward(call.exec, call.batch.tokens, dinput, model.embedding.gradient);
  watch.gradients_done(stage.embedding_unit);
  watch.progress();
}

Tensor StagePass::Impl::propagate(const Gradient& gradient) {
  const StageSpan& span = stage.span;
  LS_CHECK(static_cast<bool>(gradient.dinput) == !span.embeds && static_cast<bool>(gradient.doutput) == !span.has_head,
           "gradients {} and {} of layers {} to {}", gradient.dinput.describe(), gradient.doutput.describe(),
           span.begin, span.end);
  const std::int64_t layers = span.layers();
  Tensor dx = span.has_head ? head_gradient(gradient) : gradient.doutput;
  // A layer's gradient goes to the caller, or to where nobody reads any more. In halves all of them stay, each where
  // the input of the layer behind it was; else two take turns.
  Tensor free = kept->free_in_backward();
  if (!free && layers > (span.embeds ? 0 : 1)) free = shape.new_stream(lasting(), "stream gradient");
  for (std::int64_t l = layers; l-- > 0;) {
    const Tensor dinput = l == 0 && !span.embeds ? gradient.dinput : free;
    backward_layer(l, dx, dinput);
    free = backward == BackwardKind::kWhole ? dx : kept->stream(l);
    dx = dinput;
  }
  return dx;
}

StagePass::StagePass(Model& model, int stage, const Call& call, const PassMemory& memory, BackwardKind backward) {
  const Model::Impl& parts = *model.impl_;
  parts.check(call, parts.stage(stage).span);
  LS_CHECK(model.all_gradients(), "a training pass of a model without gradients");
  LS_CHECK((call.offload != nullptr) == (parts.config.offload == Offload::kActivations),
           "an offload is given exactly where the config asks for one");
  if (backward == BackwardKind::kHalves) {
    LS_REQUIRE(kUsage, call.offload == nullptr,
               "model.offload: activations does not go with a backward in halves, as zero-bubble schedules have it; "
               "give model.offload: none or another parallel.schedule");
    LS_CHECK(&memory.kept != &memory.transient, "a backward in halves keeps things where others are released");
  }
  impl_ = std::make_unique<Impl>(*model.impl_, stage, call, memory, backward);
}
StagePass::~StagePass() = default;

void StagePass::forward(const Tensor& input, const Tensor& output) {
  impl_->advance(Progress::kBegun, Progress::kForward);
  const StageSpan& span = impl_->stage.span;
  LS_CHECK(static_cast<bool>(input) == !span.embeds && static_cast<bool>(output) == !span.has_head,
           "input {} and output {} of layers {} to {}", input.describe(), output.describe(), span.begin, span.end);
  const Call& call = impl_->call;
  impl_->tables = impl_->shape.new_rotary_tables(impl_->memory.kept);
  impl_->model.fill_rotary_tables(call.exec, call.batch.positions, impl_->tables);
  impl_->kept.emplace(impl_->memory.kept, impl_->shape, StageEnds{input, output}, call.offload);
  if (span.embeds) {
    impl_->watch.before_use(impl_->stage.embedding_unit);
    embedding_forward(call.exec, call.batch.tokens, impl_->model.embedding.value, impl_->kept->stream(0));
    impl_->watch.progress();
  }
  for (std::int64_t l = 0; l < span.layers(); ++l) impl_->forward_layer(l);
}

void StagePass::backward(const Gradient& gradient) {
  LS_CHECK(impl_->backward == BackwardKind::kWhole, "a backward in halves was asked to be whole");
  impl_->advance(Progress::kForward, Progress::kDone);
  Arena::Scope released(impl_->memory.transient);
  const Tensor dx = impl_->propagate(gradient);
  if (impl_->stage.span.embeds) impl_->backward_embedding(dx);
}

void StagePass::input_gradient(const Gradient& gradient) {
  LS_CHECK(impl_->backward == BackwardKind::kHalves, "a whole backward was asked for one half");
  impl_->advance(Progress::kForward, Progress::kInputGradient);
  impl_->first_gradient = impl_->propagate(gradient);
}

void StagePass::weight_gradient() {
  impl_->advance(Progress::kInputGradient, Progress::kDone);
  const LayerCall in = impl_->layer_call(impl_->memory.kept, impl_->memory.transient);
  for (std::int64_t l = impl_->stage.span.layers(); l-- > 0;) {
    impl_->layer_pass(in, l).backward_weights();
    impl_->watch.gradients_done(impl_->stage.layer_units[static_cast<std::size_t>(l)]);
  }
  if (impl_->stage.span.embeds) impl_->backward_embedding(impl_->first_gradient);
}

}  // namespace longspan
