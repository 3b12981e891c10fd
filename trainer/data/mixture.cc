#include "trainer/data/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/core/error.h"

namespace longspan {
namespace {

using Wide = unsigned __int128;
constexpr std::uint64_t kCircle = std::uint64_t{1} << 32;
constexpr std::uint64_t kGolden = 2654435769;  // 2^32 / golden ratio, odd: all points of the circle are met

// Sum over i < count of floor((step * i + first) / modulus), by Euclid's algorithm on step and modulus.
Wide floor_sum(Wide count, Wide modulus, Wide step, Wide first) {
  Wide sum = 0;
  while (count > 0) {
    sum += count * (count - 1) / 2 * (step / modulus) + count * (first / modulus);
    step %= modulus;
    first %= modulus;
    const Wide last = step * count + first;
    count = last / modulus;
    first = last % modulus;
    std::swap(step, modulus);
  }
  return sum;
}

}  // namespace

Mixture::Mixture(const std::vector<double>& weights, std::uint64_t seed) : first_(seed % kCircle) {
  LS_CHECK(!weights.empty(), "a mixture of nothing");
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double before = 0;
  bounds_.push_back(0);
  for (const double weight : weights) {
    before += weight;
    const auto bound = static_cast<std::uint64_t>(std::llround(before / total * static_cast<double>(kCircle)));
    bounds_.push_back(std::clamp(bound, bounds_.back(), kCircle));
  }
  bounds_.back() = kCircle;
}

// Points 0 … count-1 that lie below the bound: floor(x/m) - floor((x-bound)/m) is 1 for them and 0 for others.
std::int64_t Mixture::points_below(std::uint64_t bound, std::int64_t count) const {
  const Wide n = static_cast<Wide>(count);
  const Wide whole = floor_sum(n, kCircle, kGolden, first_);
  const Wide shifted = floor_sum(n, kCircle, kGolden, first_ + kCircle - bound);
  return static_cast<std::int64_t>(whole + n - shifted);
}

Mixture::Draw Mixture::at(std::int64_t index) const {
  const Wide turned = static_cast<Wide>(index) * kGolden + first_;
  const std::uint64_t point = static_cast<std::uint64_t>(turned % kCircle);
  const auto above = std::upper_bound(bounds_.begin(), bounds_.end(), point);
  const auto source = static_cast<std::size_t>(above - bounds_.begin()) - 1;
  return {source, points_below(bounds_[source + 1], index) - points_below(bounds_[source], index)};
}

}  // namespace longspan
