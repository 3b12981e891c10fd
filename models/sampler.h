// Sampling: choosing the next token from logits.
#pragma once

#include <cstdint>
#include <random>
#include <span>

namespace longspan {

struct Sampling {
  double temperature = 0.8;  // 0: the likeliest token
  int top_k = 0;             // 0: all tokens
  double top_p = 1;
  std::uint64_t seed = 0;
};

// Throws Error(kUsage) naming the value that is out of range.
void check_sampling(const Sampling& sampling);

// Divides by the temperature, keeps the top_k likeliest, of these the fewest that hold top_p of their probability, and
// draws one. Equal logits are ordered by token. Throws Error(kData) where a logit is NaN.
std::int32_t sample(std::span<const float> logits, const Sampling& sampling, std::mt19937_64& random);

}  // namespace longspan
