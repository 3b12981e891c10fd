// Rounding to bfloat16 up or down at random, so that the expected value is the number itself: what is smaller than half
// a step is not lost over many updates.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/core/dtype.h"

namespace longspan::reference {

// 64 random bits of a key and a counter: the finalizer of SplitMix64 (Steele, Lea & Flood 2014) over the counter's
// place in its sequence.
LS_HD inline std::uint64_t random_bits(std::uint64_t key, std::uint64_t counter) {
  std::uint64_t z = key + (counter + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Of the two bfloat16 around x, the one away from zero with the probability that x is on the way there. Exact values,
// NaN and infinities stay what they are. The same seed and index give the same result.
LS_HD inline bf16 round_stochastically(float x, std::uint64_t seed, std::int64_t index) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7fffffffu) >= 0x7f800000u) return bf16(x);
  const auto random = static_cast<std::uint32_t>(random_bits(seed, static_cast<std::uint64_t>(index)) >> 48);
  bf16 rounded;
  rounded.bits = static_cast<std::uint16_t>((u + random) >> 16);
  return rounded;
}

}  // namespace longspan::reference
