#include "models/model.h"

#include <algorithm>

#include "kernels/ops/layer_ops.h"
#include "models/layers/layer_list.h"
#include "models/model_impl.h"
#include "models/stage_pass.h"

namespace longspan {
namespace {

const ModelConfig& checked(const ModelConfig& config) {
  check_model_config(config);
  return config;
}

std::vector<StageSpan> checked(const ModelConfig& config, std::vector<StageSpan> stages) {
  check_stages(config, stages);
  return stages;
}

ParameterStore make_store(const ModelConfig& config, std::span<const StageSpan> stages, DType precision,
                          Gradients gradients, Arena& weights, const std::optional<std::vector<FlatRange>>& owned) {
  const std::vector<UnitSpec> units = unit_specs(config, stages);
  if (owned) return ParameterStore(units, precision, gradients, weights, *owned);
  return ParameterStore(units, precision, gradients, weights);
}

}  // namespace

Model::Impl::Impl(const ModelConfig& model_config, DType model_precision, Gradients gradients, Arena& weights,
                  std::vector<StageSpan> stage_spans, std::optional<std::vector<FlatRange>> owned)
    : config(checked(model_config)),
      precision(model_precision),
      spans(checked(config, std::move(stage_spans))),
      sharded(owned.has_value()),
      store(make_store(config, spans, precision, gradients, weights, owned)),
      rope(rope_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)) {
  std::int64_t unit = 0;
  for (const StageSpan& span : spans) {
    Stage& made = stages.emplace_back();
    made.span = span;
    if (span.embeds) {
      made.embedding_unit = unit++;
      embedding = store.weight(kEmbeddingWeight);
      if (config.tie_embeddings) tied_unit = made.embedding_unit;
    }
    for (std::int64_t l = span.begin; l < span.end; ++l) {
      made.layer_units.push_back(unit++);
      made.layers.push_back(layer_kind(config.attention_of(l).kind).make(config, l, precision, store));
    }
    if (!span.has_head) continue;
    made.head_unit = unit++;
    final_norm = store.weight(kFinalNormWeight);
    head = store.weight(config.tie_embeddings ? kEmbeddingWeight : kHeadWeight);
  }
  LS_CHECK(unit == static_cast<std::int64_t>(store.units().size()), "{} of {} units", unit, store.units().size());
}

const Model::Impl::Stage& Model::Impl::stage(int index) const {
  LS_CHECK(index >= 0 && static_cast<std::size_t>(index) < stages.size(), "stage {} of {}", index, stages.size());
  return stages[static_cast<std::size_t>(index)];
}

const Model::Impl::Stage& Model::Impl::whole(std::string_view what) const {
  LS_REQUIRE(kUsage, spans.size() == 1 && spans.front() == whole_model(config),
             "{} needs the whole model on one rank, and this rank has some of its stages", what);
  return stages.front();
}

void Model::Impl::check(const StageCall& call, const StageSpan& span) const {
  const MicroBatch& batch = call.batch;
  const std::int64_t tokens = batch.positions.size(0);
  LS_CHECK((!span.embeds || batch.tokens.size(0) == tokens) && (!span.has_head || batch.labels.size(0) == tokens),
           "micro-batch of {}, {}, {}", batch.tokens.describe(), batch.labels.describe(), batch.positions.describe());
  LS_CHECK(call.attention.size() == config.pattern.size(), "{} attentions for a pattern of {}", call.attention.size(),
           config.pattern.size());
}

void Model::Impl::fill_rotary_tables(const Exec& exec, const Tensor& positions, const RotaryTables& tables) const {
  rotary_table(exec, positions, rope.inverse, rope.attention_factor, tables.cos, tables.sin);
}

void Model::Impl::normalize(const Exec& exec, const Tensor& x, const Tensor& normed, const Tensor& rstd) const {
  rms_norm_forward(
      exec,
      {.x = x, .weight = final_norm.value, .y = normed, .rstd = rstd, .eps = static_cast<float>(config.norm_eps)});
}

ContextAttention& Model::Impl::attention_of(const StageCall& call, std::int64_t layer) const {
  return *call.attention[static_cast<std::size_t>(layer) % call.attention.size()];
}

void Model::Impl::before_head(const Stage& stage, WeightWatch& watch) const {
  watch.before_use(stage.head_unit);
  if (tied_unit >= 0 && !stage.span.embeds) watch.before_use(tied_unit);
}

ActivationOffload* Model::Impl::offload_on(const Exec& exec) {
  if (config.offload == Offload::kNone) return nullptr;
  if (!offload) offload = std::make_unique<ActivationOffload>(*exec.runtime);
  return offload.get();
}

Model::Model(const ModelConfig& config, DType precision, Gradients gradients, Arena& weights)
    : Model(config, precision, gradients, weights, {whole_model(config)}) {}
Model::Model(const ModelConfig& config, DType precision, Gradients gradients, Arena& weights,
             std::vector<StageSpan> stages)
    : impl_(std::make_unique<Impl>(config, precision, gradients, weights, std::move(stages), std::nullopt)) {}
Model::Model(const ModelConfig& config, DType precision, Gradients gradients, Arena& weights,
             std::vector<StageSpan> stages, std::vector<FlatRange> owned)
    : impl_(std::make_unique<Impl>(config, precision, gradients, weights, std::move(stages), std::move(owned))) {}
Model::~Model() = default;

const ModelConfig& Model::config() const {
  return impl_->config;
}
DType Model::precision() const {
  return impl_->precision;
}
std::span<const StageSpan> Model::stages() const {
  return impl_->spans;
}
std::span<Parameter> Model::parameters() {
  return impl_->store.parameters();
}
std::span<const WeightUnit> Model::units() const {
  return impl_->store.units();
}
const Tensor& Model::all_gradients() const {
  return impl_->store.all_gradients();
}
const Tensor& Model::all_weights() const {
  return impl_->store.all_weights();
}
std::span<const WeightPiece> Model::pieces() const {
  return impl_->store.pieces();
}
bool Model::is_sharded() const {
  return impl_->sharded;
}
void Model::initialize(const Exec& exec, std::uint64_t seed) {
  impl_->store.initialize(exec, impl_->config, seed);
}
void Model::refresh_compute(const Exec& exec) {
  impl_->store.refresh_compute(exec);
}

void Model::evaluate(const Exec& exec, const MicroBatch& batch, AttentionByPattern attention, const Tensor& totals,
                     Arena& activations) {
  impl_->whole("evaluate");
  evaluate_stage({.exec = exec, .batch = batch, .attention = attention}, 0, {}, {}, totals, activations);
}

void Model::forward_backward(const Exec& exec, const MicroBatch& batch, AttentionByPattern attention, float grad_scale,
                             const Tensor& totals, Arena& activations) {
  impl_->whole("forward_backward");
  const StageCall call{.exec = exec, .batch = batch, .attention = attention, .offload = impl_->offload_on(exec)};
  StagePass pass(*this, 0, call, {activations, activations}, BackwardKind::kWhole);
  pass.forward({}, {});
  pass.backward({.doutput = {}, .dinput = {}, .grad_scale = grad_scale, .totals = totals});
}

}  // namespace longspan
