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

std::int64_t padded_numel(const std::vector<ParameterSpec>& specs) {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : specs) total += padded_numel(spec);
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

std::vector<ParameterSpec> parameter_specs(const ModelConfig& config) {
  std::vector<ParameterSpec> specs;
  specs.push_back({"model.embed_tokens.weight", {config.vocab, config.hidden}});
  for (std::int64_t l = 0; l < config.layers; ++l)
    for (ParameterSpec& spec : layer_kind(config.attention_of(l).kind).parameters(config, l))
      specs.push_back(std::move(spec));
  specs.push_back({"model.norm.weight", {config.hidden}, InitialValue::kOne});
  if (!config.tie_embeddings) specs.push_back({"lm_head.weight", {config.vocab, config.hidden}});
  return specs;
}

ParameterStore::ParameterStore(std::vector<ParameterSpec> specs, DType precision, Gradients gradients, Arena& arena)
    : specs_(std::move(specs)), precision_(precision) {
  const std::int64_t total = padded_numel(specs_);
  masters_ = arena.allocate_zeroed("master weights", MemoryCategory::kWeights, DType::kF32, {total});
  copies_ = precision == DType::kF32
                ? masters_
                : arena.allocate_zeroed("compute copies", MemoryCategory::kWeights, precision, {total});
  if (gradients == Gradients::kKeep)
    gradients_ = arena.allocate_zeroed("weight gradients", MemoryCategory::kGradients, DType::kF32, {total});

  std::int64_t begin = 0;
  for (const ParameterSpec& spec : specs_) {
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
    begin += padded_numel(spec);
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

std::int64_t ParameterStore::bytes(const std::vector<ParameterSpec>& specs, DType precision, Gradients gradients) {
  std::int64_t per_element = size_of(DType::kF32);
  if (precision != DType::kF32) per_element += size_of(precision);
  if (gradients == Gradients::kKeep) per_element += size_of(DType::kF32);
  return padded_numel(specs) * per_element;
}

}  // namespace longspan
