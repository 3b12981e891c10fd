#include "trainer/data/random.h"

#include <array>
#include <numeric>
#include <utility>

namespace longspan {
namespace {

std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

}  // namespace

std::uint64_t SplitMix64::next() {
  return mixed(state_ += 0x9E3779B97F4A7C15ULL);
}

std::int64_t SplitMix64::below(std::int64_t bound) {
  using Wide = unsigned __int128;
  const auto range = static_cast<std::uint64_t>(bound);
  const std::uint64_t threshold = (0 - range) % range;
  Wide product = Wide{next()} * range;
  while (static_cast<std::uint64_t>(product) < threshold) product = Wide{next()} * range;
  return static_cast<std::int64_t>(product >> 64);
}

std::uint64_t mix_seeds(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  std::uint64_t seed = 0;
  for (const std::uint64_t part : std::array{a, b, c}) seed = SplitMix64(seed ^ part).next();
  return seed;
}

std::vector<std::int64_t> shuffled_order(std::int64_t count, std::uint64_t seed) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  SplitMix64 random(seed);
  for (std::int64_t last = count - 1; last > 0; --last) {
    std::swap(order[static_cast<std::size_t>(last)], order[static_cast<std::size_t>(random.below(last + 1))]);
  }
  return order;
}

}  // namespace longspan
