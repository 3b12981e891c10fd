// Mixture: which source each sequence of training comes from, by weight.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace longspan {

// Multiples of the golden ratio fall evenly over the circle (Weyl 1916), which the sources share by weight: sequence i
// comes from the source whose arc holds point i. Any stretch of sequences has the weights' proportions up to a few,
// and how often a source came before i is counted exactly in O(log i).
class Mixture {
 public:
  // Weights above 0, at least one.
  Mixture(const std::vector<double>& weights, std::uint64_t seed);
  struct Draw {
    std::size_t source;
    std::int64_t index;  // how often that source came before
  };
  Draw at(std::int64_t index) const;

 private:
  std::int64_t points_below(std::uint64_t bound, std::int64_t count) const;
  std::vector<std::uint64_t> bounds_;  // arcs of the sources on a circle of 2^32
  std::uint64_t first_;
};

}  // namespace longspan
