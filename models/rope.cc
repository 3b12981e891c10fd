#include "models/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/core/error.h"

namespace longspan {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

double lerp_frequency(double stretched, double plain, double share_of_plain) {
  return stretched * (1 - share_of_plain) + plain * share_of_plain;
}

// The (fractional) number of the dimension pair that turns `turns` times in the original length.
double pair_that_turns(double turns, std::int64_t head_dim, double theta, const RopeScaling& scaling) {
  const double wavelength = static_cast<double>(scaling.original_length) / turns;
  return static_cast<double>(head_dim) * std::log(wavelength / kTurn) / (2 * std::log(theta));
}

void stretch_yarn(std::vector<double>& inverse, std::int64_t head_dim, double theta, const RopeScaling& scaling) {
  const double last = static_cast<double>(head_dim - 1);
  const double low = std::max(std::floor(pair_that_turns(scaling.beta_fast, head_dim, theta, scaling)), 0.0);
  double high = std::min(std::ceil(pair_that_turns(scaling.beta_slow, head_dim, theta, scaling)), last);
  if (high <= low) high = low + 0.001;  // a step instead of a division by zero
  for (std::size_t i = 0; i < inverse.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    inverse[i] = lerp_frequency(inverse[i] / scaling.factor, inverse[i], 1 - ramp);
  }
}

void stretch_llama3(std::vector<double>& inverse, const RopeScaling& scaling) {
  const double span = scaling.high_freq_factor - scaling.low_freq_factor;
  for (double& frequency : inverse) {
    const double turns = static_cast<double>(scaling.original_length) * frequency / kTurn;
    const double keep = std::clamp((turns - scaling.low_freq_factor) / span, 0.0, 1.0);
    frequency = lerp_frequency(frequency / scaling.factor, frequency, keep);
  }
}

}  // namespace

RopeFrequencies rope_frequencies(std::int64_t head_dim, double theta, const RopeScaling& scaling) {
  LS_CHECK(head_dim >= 2 && head_dim % 2 == 0, "rotary positions over {} dimensions", head_dim);
  const double dim = static_cast<double>(head_dim);
  if (scaling.kind == RopeScalingKind::kNtk) theta *= std::pow(scaling.factor, dim / (dim - 2));
  std::vector<double> inverse(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t i = 0; i < inverse.size(); ++i) inverse[i] = std::pow(theta, -2 * static_cast<double>(i) / dim);

  RopeFrequencies result;
  switch (scaling.kind) {
    case RopeScalingKind::kNone:
    case RopeScalingKind::kNtk: break;
    case RopeScalingKind::kLinear:
      for (double& frequency : inverse) frequency /= scaling.factor;
      break;
    case RopeScalingKind::kYarn:
      stretch_yarn(inverse, head_dim, theta, scaling);
      result.attention_factor =
          static_cast<float>(scaling.attention_factor.value_or(0.1 * std::log(scaling.factor) + 1));
      break;
    case RopeScalingKind::kLlama3: stretch_llama3(inverse, scaling); break;
  }
  result.inverse.assign(inverse.begin(), inverse.end());
  return result;
}

}  // namespace longspan
