// Generator: sampling token by token with a key/value cache, on one rank.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "models/model.h"
#include "models/sampler.h"

namespace longspan {

class Generator {
 public:
  // The cache holds max_tokens; it and the scratch of a step come from `cache` (see bytes()). Keeps references.
  // Throws Error(kUsage) for a model with attention that is not causal.
  Generator(Model& model, const Exec& exec, Arena& cache, std::int64_t max_tokens);
  ~Generator();
  // Feeds tokens (prefill or one) and returns the logits [vocab] fp32 after the last, in host memory and valid until
  // the next feed. Throws Error(kUsage) for no token, or once the cache is full; Error(kData) for a token outside the
  // vocabulary.
  Tensor feed(std::span<const std::int32_t> tokens);
  // Samples until max_new tokens or `end` (-1: none); calls on_token for each as it comes. `end` is handed out too.
  std::vector<std::int32_t> generate(std::span<const std::int32_t> prompt, std::int64_t max_new, std::int32_t end,
                                     const Sampling& sampling, const std::function<void(std::int32_t)>& on_token);

  // Peak bytes taken from `cache` (exact).
  static std::int64_t bytes(const ModelConfig& config, DType precision, std::int64_t max_tokens);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longspan
