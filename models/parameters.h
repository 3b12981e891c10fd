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

enum class ComputeCopy : std::uint8_t { kPrecision, kF32 };  // fp32 in any precision: operands that take no other

struct ParameterSpec {
  std::string name;  // Hugging Face's
  std::vector<std::int64_t> shape;
  InitialValue initial = InitialValue::kNormal;
  ComputeCopy copy = ComputeCopy::kPrecision;
  bool tied_copy = false;
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

WeightLayout weight_layout(const std::vector<UnitSpec>& units, DType precision);

class ParameterStore {
 public:
  // Takes one block of masters, one of compute copies (precision kBF16) and one of gradients; zeroed, padding included.
  ParameterStore(const std::vector<UnitSpec>& units, DType precision, Gradients gradients, Arena& arena);
  // With masters of the owned ranges alone, one after another, where the layers do not read the masters.
  ParameterStore(const std::vector<UnitSpec>& units, DType precision, Gradients gradients, Arena& arena,
                 std::span<const FlatRange> owned);

  std::span<Parameter> parameters() { return parameters_; }
  std::span<const WeightPiece> pieces() const { return pieces_; }
  std::span<const WeightUnit> units() const { return layout_.units; }
  const Tensor& all_gradients() const { return gradients_; }
  const Tensor& all_weights() const { return copies_; }
  // The values are made on the host, tensor by tensor, and copied to where the weights live: compute copies whole.
  void initialize(const Exec& exec, const ModelConfig& config, std::uint64_t seed);
  void refresh_compute(const Exec& exec) const;

  // The compute copy and gradient of a weight; throws Error(kInternal) if there is none of that name.
  Weight weight(std::string_view name) const;

  // Bytes the constructors take from their arena.
  static std::int64_t bytes(const std::vector<UnitSpec>& units, DType precision, Gradients gradients);
  static std::int64_t bytes(const std::vector<UnitSpec>& units, DType precision, Gradients gradients,
                            std::span<const FlatRange> owned);

 private:
  void add_parameter(const ParameterSpec& spec, DType precision);
  void add_pieces(std::span<const FlatRange> owned);

  WeightLayout layout_;
  std::vector<ParameterSpec> specs_;
  std::vector<Parameter> parameters_;
  std::vector<WeightPiece> pieces_;
  std::unordered_map<std::string, std::size_t> places_;
  Tensor copies_, gradients_;  // flat, with the same offsets
  Tensor masters_;             // the same in fp32; else of the owned ranges, one after another
};

}  // namespace longspan
