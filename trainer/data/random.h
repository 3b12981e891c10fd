// Random draws that are pure functions of a few numbers, alike on every machine.
#pragma once

#include <cstdint>
#include <vector>

namespace longspan {

// SplitMix64 (Steele, Lea, Flood 2014): a counter, well mixed.
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  // Even over 0 … bound-1, without bias (Lemire 2019). bound > 0.
  std::int64_t below(std::int64_t bound);

 private:
  std::uint64_t state_;
};

// One seed out of several numbers that tell what is drawn.
std::uint64_t mix_seeds(std::uint64_t a, std::uint64_t b, std::uint64_t c);

// 0 … count-1 in an order that is even over all orders (Fisher and Yates).
std::vector<std::int64_t> shuffled_order(std::int64_t count, std::uint64_t seed);

}  // namespace longspan
