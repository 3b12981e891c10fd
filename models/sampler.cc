#include "models/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/core/error.h"

namespace longspan {

void check_sampling(const Sampling& sampling) {
  LS_REQUIRE(kUsage, std::isfinite(sampling.temperature) && sampling.temperature >= 0,
             "temperature {} must be at least 0; 0 takes the likeliest token", sampling.temperature);
  LS_REQUIRE(kUsage, sampling.top_k >= 0, "top_k {} must be at least 0; 0 keeps all tokens", sampling.top_k);
  LS_REQUIRE(kUsage, sampling.top_p > 0 && sampling.top_p <= 1, "top_p {} must lie above 0, up to 1", sampling.top_p);
}

std::int32_t sample(std::span<const float> logits, const Sampling& sampling, std::mt19937_64& random) {
  LS_CHECK(!logits.empty(), "no logits to sample from");
  LS_REQUIRE(kData, std::none_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); }),
             "the model's logits hold NaN; its weights are damaged or its training diverged");
  if (sampling.temperature == 0)
    return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());

  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return logits[a] > logits[b]; });
  if (sampling.top_k > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(sampling.top_k)));

  std::vector<double> cumulative;  // of exp((logit - highest) / temperature)
  double total = 0;
  for (const std::int32_t token : order) {
    const double below = static_cast<double>(logits[order[0]]) - static_cast<double>(logits[token]);
    total += std::exp(-below / sampling.temperature);
    cumulative.push_back(total);
  }
  const auto first_at = [&](double mass) {  // the token whose share covers this much of the probability
    const auto place = std::lower_bound(cumulative.begin(), cumulative.end(), mass) - cumulative.begin();
    return std::min(static_cast<std::size_t>(place), cumulative.size() - 1);
  };
  const double kept = cumulative[first_at(sampling.top_p * total)];
  const double uniform = static_cast<double>((random() >> 11) + 1) * 0x1p-53;  // in (0, 1]
  return order[first_at(uniform * kept)];
}

}  // namespace longspan
