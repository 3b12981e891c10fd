// Generator: sampling token by token with a key/value cache, on one rank.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <vector>

#include "models/model.h"

namespace longspan {

struct Sampling {
  double temperature = 0.8;  // 0: the likeliest token
  int top_k = 0;             // 0: all tokens
  double top_p = 1;
  std::uint64_t seed = 0;
};

class Generator {
 public:
  // The cache holds max_tokens, taken from `cache`. Keeps references.
  Generator(Model& model, const Exec& exec, Arena& cache, std::int64_t max_tokens);
  ~Generator();
  // Feeds tokens (prefill or one) and returns the logits [vocab] fp32 after the last.
  Tensor feed(std::span<const std::int32_t> tokens);
  // Samples until max_new tokens or `end` (-1: none); calls on_token for each as it comes.
  std::vector<std::int32_t> generate(std::span<const std::int32_t> prompt, std::int64_t max_new, std::int32_t end,
                                     const Sampling& sampling, const std::function<void(std::int32_t)>& on_token);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longspan
