#include "models/parameters.h"

#include <algorithm>
#include <array>
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

std::int64_t padded(std::int64_t num_elements) {
  return (num_elements + kAlignElements - 1) / kAlignElements * kAlignElements;
}

bool copy_is_wider(const ParameterSpec& spec, DType precision) {
  return spec.copy == ComputeCopy::kF32 && precision != DType::kF32;
}

// Elements of the flat tensors that a weight takes, padding included.
std::int64_t room_of(const ParameterSpec& spec, DType precision) {
  const std::int64_t width = copy_is_wider(spec, precision) ? size_of(DType::kF32) / size_of(precision) : 1;
  return padded(spec.numel() * width);
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
      head.parameters.push_back({.name = std::string(config.tie_embeddings ? kEmbeddingWeight : kHeadWeight),
                                 .shape = table,
                                 .tied_copy = config.tie_embeddings});
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

std::vector<FlatRange> WeightLayout::unit_ranges() const {
  std::vector<FlatRange> ranges;
  for (const WeightUnit& unit : units) ranges.push_back(unit.range());
  return ranges;
}

std::int64_t WeightLayout::weights_in(std::span<const FlatRange> ranges) const {
  std::int64_t count = 0;
  for (const FlatRange& range : ranges)
    for (const FlatRange& parameter : parameters) count += common_part(parameter, range).size();
  return count;
}

WeightLayout weight_layout(const std::vector<UnitSpec>& units, DType precision) {
  WeightLayout layout;
  std::int64_t begin = 0;
  for (const UnitSpec& unit : units) {
    layout.units.push_back({.name = unit.name, .begin = begin, .end = begin});
    for (const ParameterSpec& spec : unit.parameters) {
      const std::int64_t end = begin + room_of(spec, precision);
      layout.parameters.push_back({begin, begin + spec.numel()});
      if (copy_is_wider(spec, precision)) layout.undivided.push_back({begin, end});
      begin = layout.units.back().end = end;
    }
  }
  return layout;
}

WeightLayout weight_layout(const ModelConfig& config, std::span<const StageSpan> stages, DType precision) {
  return weight_layout(unit_specs(config, stages), precision);
}

ParameterStore::ParameterStore(const std::vector<UnitSpec>& units, DType precision, Gradients gradients, Arena& arena)
    : ParameterStore(units, precision, gradients, arena,
                     std::array{FlatRange{0, weight_layout(units, precision).num_elements()}}) {}

ParameterStore::ParameterStore(const std::vector<UnitSpec>& units, DType precision, Gradients gradients, Arena& arena,
                               std::span<const FlatRange> owned)
    : layout_(weight_layout(units, precision)) {
  const std::int64_t total = layout_.num_elements();
  const auto take = [&](std::string_view name, MemoryCategory category, DType dtype, std::int64_t num_elements) {
    return arena.allocate_zeroed(name, category, dtype, {num_elements});
  };
  masters_ = take("master weights", MemoryCategory::kWeights, DType::kF32,
                  precision == DType::kF32 ? total : total_size(owned));
  copies_ = precision == DType::kF32 ? masters_ : take("compute copies", MemoryCategory::kWeights, precision, total);
  if (gradients == Gradients::kKeep)
    gradients_ = take("weight gradients", MemoryCategory::kGradients, DType::kF32, total);

  for (const UnitSpec& unit : units)
    for (const ParameterSpec& spec : unit.parameters) add_parameter(spec, precision);
  add_pieces(owned);
}

void ParameterStore::add_parameter(const ParameterSpec& spec, DType precision) {
  const FlatRange place = layout_.parameters[parameters_.size()];
  Parameter parameter;
  parameter.name = spec.name;
  parameter.shape = spec.shape;
  parameter.compute = copies_.narrow(0, place.begin, place.end);
  if (copy_is_wider(spec, precision))
    parameter.compute = Tensor(parameter.compute.data, DType::kF32, {place.size()}, copies_.device);
  if (precision == DType::kF32) parameter.master = parameter.compute;
  if (gradients_) parameter.gradient = gradients_.narrow(0, place.begin, place.end);
  parameter.decays = spec.shape.size() == 2;
  parameter.place = place;
  parameter.tied_copy = spec.tied_copy;
  places_[spec.name] = parameters_.size();
  parameters_.push_back(std::move(parameter));
  specs_.push_back(spec);
}

void ParameterStore::add_pieces(std::span<const FlatRange> owned) {
  for (const FlatRange& whole : layout_.undivided)
    for (const FlatRange& range : owned) {
      const std::int64_t common = common_part(whole, range).size();
      LS_CHECK(common == 0 || common == whole.size(), "a share of weights ends inside {} … {}", whole.begin, whole.end);
    }
  const bool whole_masters = copies_.dtype == DType::kF32;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& parameter = parameters_[i];
    std::int64_t masters_before = 0;
    for (const FlatRange& range : owned) {
      const FlatRange common = common_part(parameter.place, range);
      const std::int64_t first = whole_masters ? common.begin : masters_before + common.begin - range.begin;
      masters_before += range.size();
      if (common.size() == 0) continue;
      const std::int64_t begin = common.begin - parameter.place.begin, end = common.end - parameter.place.begin;
      WeightPiece& piece = pieces_.emplace_back();
      piece.parameter = static_cast<std::int64_t>(i);
      piece.range = {begin, end};
      piece.master = masters_.narrow(0, first, first + common.size());
      piece.compute = parameter.compute.narrow(0, begin, end);
      if (gradients_) piece.gradient = parameter.gradient.narrow(0, begin, end);
      if (common == parameter.place) parameter.master = piece.master;
    }
  }
}

void ParameterStore::initialize(const Exec& exec, const ModelConfig& config, std::uint64_t seed) {
  std::vector<float> values;
  std::size_t piece = 0;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    values.resize(static_cast<std::size_t>(specs_[i].numel()));
    fill_initial(specs_[i], config, seed, values);
    fill_on_host(exec, parameters_[i].compute, [&](const Tensor& tensor) {
      if (tensor.dtype == DType::kF32)
        std::copy(values.begin(), values.end(), tensor.get<float>());
      else
        std::transform(values.begin(), values.end(), tensor.get<bf16>(), [](float value) { return bf16(value); });
    });
    for (; piece < pieces_.size() && pieces_[piece].parameter == static_cast<std::int64_t>(i); ++piece) {
      const WeightPiece& owned = pieces_[piece];
      if (owned.master.data == owned.compute.data) continue;
      fill_on_host(exec, owned.master, [&](const Tensor& tensor) {
        std::copy(values.begin() + owned.range.begin, values.begin() + owned.range.end, tensor.get<float>());
      });
    }
  }
}

void ParameterStore::refresh_compute(const Exec& exec) const {
  for (const WeightPiece& piece : pieces_) {
    if (piece.master.data == piece.compute.data) continue;
    if (piece.compute.dtype == DType::kF32)
      copy_tensor(exec, piece.master, piece.compute);
    else
      cast(exec, piece.master, piece.compute);
  }
}

Weight ParameterStore::weight(std::string_view name) const {
  const auto place = places_.find(std::string(name));
  LS_CHECK(place != places_.end(), "no parameter {}", name);
  const Parameter& parameter = parameters_[place->second];
  return {in_shape(parameter.compute, parameter.shape), in_shape(parameter.gradient, parameter.shape)};
}

std::int64_t ParameterStore::bytes(const std::vector<UnitSpec>& units, DType precision, Gradients gradients) {
  return bytes(units, precision, gradients, std::array{FlatRange{0, weight_layout(units, precision).num_elements()}});
}

std::int64_t ParameterStore::bytes(const std::vector<UnitSpec>& units, DType precision, Gradients gradients,
                                   std::span<const FlatRange> owned) {
  const std::int64_t total = weight_layout(units, precision).num_elements();
  std::int64_t num_bytes = total * size_of(precision);
  if (precision != DType::kF32) num_bytes += total_size(owned) * size_of(DType::kF32);
  if (gradients == Gradients::kKeep) num_bytes += total * size_of(DType::kF32);
  return num_bytes;
}

}  // namespace longspan
