// The kinds of layers there are, by the `kind` of an attention map.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "models/split_layer.h"

namespace longspan {

class LayerKind {
 public:
  virtual ~LayerKind() = default;
  virtual std::string_view name() const = 0;     // as in model.attention.kind
  virtual std::string_view summary() const = 0;  // one line for --help and docs
  virtual std::vector<ParameterSpec> parameters(const ModelConfig& config, std::int64_t layer) const = 0;
  // Keeps views into `weights`.
  virtual std::unique_ptr<SplitLayer> make(const ModelConfig& config, std::int64_t layer, DType precision,
                                           const ParameterStore& weights) const = 0;
  virtual LayerBytes bytes(const ModelConfig& config, DType precision, std::int64_t tokens) const = 0;
};

std::span<const LayerKind* const> layer_kinds();
// Throws Error(kUnsupported) listing the kinds there are.
const LayerKind& layer_kind(std::string_view name);

}  // namespace longspan
