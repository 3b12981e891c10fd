#include "models/parameters.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <xxhash.h>

#include "kernels/core/host_copy.h"
#include "kernels/ops/layer_ops.h"
#include "models/layers/layer_list.h"
#include "models/random_normal.h"

namespace longspan {
namespace {

// Each tensor begins at a cache line, in the bf16 copies too.
constexpr std::int64_t kAlignElements = 32;

std::int64_t padded_numel(const ParameterSpec& spec) {
  return (spec.numel() + kAlignElements - 1) / kAlignElements * kAlignElements;
}

std::int64_t padded_numel(const UnitSpec& unit) {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : unit.parameters) total += padded_numel(spec);
  return total;
}

std::int64_t padded_numel(const std::vector<UnitSpec>& units) {
  std::int64_t total = 0;
  for (const UnitSpec& unit : units) total += padded_numel(unit);
  return total;
}

Tensor in_shape(const Tensor& flat, const std::vector<std::int64_t>& shape) {
  if (!flat) return flat;
  return shape.size() == 1 ? flat.view({shape[0]}) : flat.view({shape[0], shape[1]});
}

void fill_initial(const ParameterSpec& spec, const ModelConfig& config, std::uint64_t seed, std::span<float> values) {
  const double output_scale = 1 / std::sqrt(2 * static_cast<double>(config.layers));
  const std::uint64_t key = XXH3_64bits_withSeed(spec.name.data(), spec.name.size(), seed);
  switch (spec.initial) {
    case InitialValue::kNormal: return fill_normal(key, config.init_std, values);
    case InitialValue::kNormalOutput: return fill_normal(key, config.init_std * output_scale, values);
    case InitialValue::kOne: std::fill(values.begin(), values.end(), 1.0f); return;
    case InitialValue::kZero: std::fill(values.begin(), values.end(), 0.0f); return;
  }
}

}  // namespace

std::int64_t ParameterSpec::numel() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::vector<UnitSpec> unit_specs(const ModelConfig& config, std::span<const StageSpan> stages) {
  const bool embeds = std::any_of(stages.begin(), stages.end(), [](const StageSpan& stage) { return stage.embeds; });
  const std::vector<std::int64_t> table = {config.vocab, config.hidden};
  std::vector<UnitSpec> units;
  for (const StageSpan& stage : stages) {
    if (stage.embeds) units.push_back({"embedding", {{std::string(kEmbeddingWeight), table}}});
    for (std::int64_t l = stage.begin; l < stage.end; ++l)
      units.push_back({fmt::format("layer {}", l), layer_kind(config.attention_of(l).kind).parameters(config, l)});
    if (!stage.has_head) continue;
    UnitSpec& head = units.emplace_back(UnitSpec{"head", {}});
    head.parameters.push_back({std::string(kFinalNormWeight), {config.hidden}, InitialValue::kOne});
    if (!config.tie_embeddings || !embeds)
      head.parameters.push_back({std::string(config.tie_embeddings ? kEmbeddingWeight : kHeadWeight), table});
  }
  return units;
}

std::vector<ParameterSpec> parameter_specs(const ModelConfig& config) {
  const StageSpan whole = whole_model(config);
  std::vector<ParameterSpec> specs;
  for (UnitSpec& unit : unit_specs(config, {&whole, 1}))
    for (ParameterSpec& spec : unit.parameters) specs.push_back(std::move(spec));
  return specs;
}

std::vector<WeightUnit> weight_units(const ModelConfig& config, std::span<const StageSpan> stages) {
  std::vector<WeightUnit> units;
  std::int64_t begin = 0;
  for (const UnitSpec& unit : unit_specs(config, stages)) {
    units.push_back({.name = unit.name, .begin = begin, .end = begin + padded_numel(unit)});
    begin = units.back().end;
  }
  return units;
}

ParameterStore::ParameterStore(const std::vector<UnitSpec>& units, DType precision, Gradients gradients, Arena& arena)
    : precision_(precision) {
  const std::int64_t total = padded_numel(units);
  masters_ = arena.allocate_zeroed("master weights", MemoryCategory::kWeights, DType::kF32, {total});
  copies_ = precision == DType::kF32
                ? masters_
                : arena.allocate_zeroed("compute copies", MemoryCategory::kWeights, precision, {total});
  if (gradients == Gradients::kKeep)
    gradients_ = arena.allocate_zeroed("weight gradients", MemoryCategory::kGradients, DType::kF32, {total});

  std::int64_t begin = 0;
  for (const UnitSpec& unit : units) {
    units_.push_back({.name = unit.name, .begin = begin, .end = begin + padded_numel(unit)});
    for (const ParameterSpec& spec : unit.parameters) {
      const std::int64_t end = begin + spec.numel();
      Parameter parameter;
      parameter.name = spec.name;
      parameter.shape = spec.shape;
      parameter.master = masters_.narrow(0, begin, end);
      parameter.compute = copies_.narrow(0, begin, end);
      if (gradients_) parameter.gradient = gradients_.narrow(0, begin, end);
      parameter.decays = spec.shape.size() == 2;
      places_[spec.name] = parameters_.size();
      parameters_.push_back(std::move(parameter));
      specs_.push_back(spec);
      begin += padded_numel(spec);
    }
  }
}

void ParameterStore::initialize(const Exec& exec, const ModelConfig& config, std::uint64_t seed) {
  for (std::size_t i = 0; i < specs_.size(); ++i)
    fill_on_host(exec, parameters_[i].master, [&](const Tensor& master) {
      fill_initial(specs_[i], config, seed, {master.get<float>(), static_cast<std::size_t>(master.numel())});
    });
  refresh_compute(exec);
}

void ParameterStore::refresh_compute(const Exec& exec) const {
  if (precision_ != DType::kF32) cast(exec, masters_, copies_);
}

const Parameter& ParameterStore::find(std::string_view name) const {
  const auto place = places_.find(std::string(name));
  LS_CHECK(place != places_.end(), "no parameter {}", name);
  return parameters_[place->second];
}

Weight ParameterStore::weight(std::string_view name) const {
  const Parameter& parameter = find(name);
  return {in_shape(parameter.compute, parameter.shape), in_shape(parameter.gradient, parameter.shape)};
}

Weight ParameterStore::master_weight(std::string_view name) const {
  const Parameter& parameter = find(name);
  return {in_shape(parameter.master, parameter.shape), in_shape(parameter.gradient, parameter.shape)};
}

std::int64_t ParameterStore::bytes(const std::vector<UnitSpec>& units, DType precision, Gradients gradients) {
  std::int64_t per_element = size_of(DType::kF32);
  if (precision != DType::kF32) per_element += size_of(precision);
  if (gradients == Gradients::kKeep) per_element += size_of(DType::kF32);
  return padded_numel(units) * per_element;
}

}  // namespace longspan
