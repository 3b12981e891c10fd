// Rotary frequencies in double, written from the papers' formulas by wavelength and number of turns.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "models/model_config.h"

namespace longspan::test {

struct ReferenceRope {
  std::vector<double> inverse;
  double attention_factor = 1;
};

inline ReferenceRope reference_rope(int head_dim, double theta, const RopeScaling& scaling) {
  const double length = static_cast<double>(scaling.original_length), s = scaling.factor;
  ReferenceRope rope;
  const auto turns_of_pair = [&](double pair) {
    const double wavelength = 2 * std::numbers::pi * std::pow(theta, 2 * pair / head_dim);
    return length / wavelength;
  };
  // The pair that turns `turns` times, found by bisection: turns fall with the pair's number.
  const auto pair_of_turns = [&](double turns) {
    double low = -1000, high = 1000;
    for (int i = 0; i < 200; ++i) {
      const double middle = (low + high) / 2;
      (turns_of_pair(middle) > turns ? low : high) = middle;
    }
    return (low + high) / 2;
  };
  for (int i = 0; i < head_dim / 2; ++i) {
    double frequency = 1 / std::pow(theta, 2.0 * i / head_dim);
    if (scaling.kind == RopeScalingKind::kLinear) frequency /= s;
    if (scaling.kind == RopeScalingKind::kNtk)
      frequency /= std::pow(s, 2.0 * i / (head_dim - 2));  // what the larger theta amounts to for pair i
    if (scaling.kind == RopeScalingKind::kYarn) {
      const double first = std::max(0.0, std::floor(pair_of_turns(scaling.beta_fast)));
      const double last = std::min(head_dim - 1.0, std::ceil(pair_of_turns(scaling.beta_slow)));
      const double share = i <= first ? 0 : i >= last ? 1 : (i - first) / (last - first);
      frequency = (1 - share) * frequency + share * frequency / s;
      rope.attention_factor = scaling.attention_factor ? *scaling.attention_factor : 1 + std::log(s) / 10;
    }
    if (scaling.kind == RopeScalingKind::kLlama3) {
      const double wavelength = 2 * std::numbers::pi / frequency;
      if (wavelength > length / scaling.low_freq_factor) {
        frequency /= s;
      } else if (wavelength >= length / scaling.high_freq_factor) {
        const double smooth =
            (length / wavelength - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
        frequency = (1 - smooth) * frequency / s + smooth * frequency;
      }
    }
    rope.inverse.push_back(frequency);
  }
  return rope;
}

}  // namespace longspan::test
