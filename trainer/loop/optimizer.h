// Optimizer: AdamW over a model's parameters, or the pieces of them that this rank updates, with its state.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/model.h"
#include "trainer/config/config.h"

namespace longspan {

class Optimizer {
 public:
  // First and second moments of these pieces (Model::pieces()), zero, are laid out in `state`. Keeps the parameters;
  // they and all tensors must outlive it.
  Optimizer(const OptimizerConfig& config, std::span<const Parameter> parameters, std::span<const WeightPiece> pieces,
            Arena& state);
  // Of whole parameters.
  Optimizer(const OptimizerConfig& config, std::span<const Parameter> parameters, Arena& state);

  // One update of every piece (and its compute copy) from gradient * grad_scale; `step` counts from 1. A weight gets
  // the same bits however it is cut into pieces.
  void update(const Exec& exec, std::int64_t step, double lr, double grad_scale);

  struct Moments {
    Tensor m, v;  // fp32, flat, as long as the piece
  };
  std::span<const WeightPiece> pieces() const { return pieces_; }
  const std::vector<Moments>& moments() const { return moments_; }  // in the order of the pieces

  // Bytes the constructor takes from `state` for pieces of so many elements (WeightLayout::weights_in, or all of
  // count_parameters).
  static std::int64_t state_bytes(std::int64_t num_elements) { return 2 * num_elements * size_of(DType::kF32); }

 private:
  OptimizerConfig config_;
  std::span<const Parameter> parameters_;
  std::vector<WeightPiece> pieces_;
  std::vector<Moments> moments_;
};

}  // namespace longspan
