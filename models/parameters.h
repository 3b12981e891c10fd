// Parameters: which weights a model has, where they lie and what they start as.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/model.h"

namespace longspan {

enum class InitialValue : std::uint8_t {
  kNormal,        // normal(0, init_std)
  kNormalOutput,  // the same over sqrt(2 layers): writes to the residual stream, which sums 2 layers of them
  kOne,
  kZero,
};

struct ParameterSpec {
  std::string name;  // Hugging Face's
  std::vector<std::int64_t> shape;
  InitialValue initial = InitialValue::kNormal;
  std::int64_t numel() const;
};

// Weights that are used, and whose gradients are complete, together (see WeightUnit).
struct UnitSpec {
  std::string name;
  std::vector<ParameterSpec> parameters;
};

// Every unit of a rank's stages in the order in which they lie: stage after stage, of each the embedding, its layers,
// the final norm with the head. Where embeddings are tied, the head's weights are the embedding's if the rank embeds
// too, else a copy of the same name.
std::vector<UnitSpec> unit_specs(const ModelConfig& config, std::span<const StageSpan> stages);
// The weights of a whole model in that order.
std::vector<ParameterSpec> parameter_specs(const ModelConfig& config);

inline constexpr std::string_view kEmbeddingWeight = "model.embed_tokens.weight";
inline constexpr std::string_view kFinalNormWeight = "model.norm.weight";
inline constexpr std::string_view kHeadWeight = "lm_head.weight";

// A weight in its own shape: views into a ParameterStore.
struct Weight {
  Tensor value;
  Tensor gradient;  // fp32; absent in a model without gradients
};

class ParameterStore {
 public:
  // Takes one block of masters, one of bf16 copies (precision kBF16) and one of gradients; zeroed, padding included.
  ParameterStore(const std::vector<UnitSpec>& units, DType precision, Gradients gradients, Arena& arena);

  std::span<Parameter> parameters() { return parameters_; }
  std::span<const WeightUnit> units() const { return units_; }
  const Tensor& all_gradients() const { return gradients_; }
  const Tensor& all_weights() const { return copies_; }
  // The values are made on the host, tensor by tensor, and copied to where the weights live.
  void initialize(const Exec& exec, const ModelConfig& config, std::uint64_t seed);
  void refresh_compute(const Exec& exec) const;

  // The compute copy and gradient of a weight; throws Error(kInternal) if there is none of that name.
  Weight weight(std::string_view name) const;
  // The same with the fp32 master as value, for operands that are fp32 in any precision.
  Weight master_weight(std::string_view name) const;

  // Bytes the constructor takes from its arena.
  static std::int64_t bytes(const std::vector<UnitSpec>& units, DType precision, Gradients gradients);

 private:
  const Parameter& find(std::string_view name) const;

  std::vector<ParameterSpec> specs_;
  std::vector<WeightUnit> units_;
  std::vector<Parameter> parameters_;
  std::unordered_map<std::string, std::size_t> places_;
  DType precision_;
  Tensor masters_, copies_, gradients_;  // flat, all with the same offsets
};

}  // namespace longspan
