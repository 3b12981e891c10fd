// Optimizer: AdamW over a model's parameters, with its state.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/model.h"
#include "trainer/config/config.h"

namespace longspan {

class Optimizer {
 public:
  // First and second moments, zero, are laid out in `state`. Keeps the parameters, whose tensors must outlive it.
  Optimizer(const OptimizerConfig& config, std::span<Parameter> parameters, Arena& state);

  // One update of every weight (and its compute copy) from gradient * grad_scale; `step` counts from 1.
  void update(const Exec& exec, std::int64_t step, double lr, double grad_scale);

  struct Moments {
    Tensor m, v;  // fp32, flat, as long as the parameter
  };
  const std::vector<Moments>& moments() const { return moments_; }  // in the order of the parameters

  // Bytes the constructor takes from `state` for these parameters.
  static std::int64_t state_bytes(std::int64_t num_parameters) { return 2 * num_parameters * size_of(DType::kF32); }

 private:
  OptimizerConfig config_;
  std::span<Parameter> parameters_;
  std::vector<Moments> moments_;
};

}  // namespace longspan
