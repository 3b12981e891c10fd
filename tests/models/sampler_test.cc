// Sampling: what may be drawn, how often, and that a seed decides it.
#include "models/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/core/error.h"

namespace longspan {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// How often each token is drawn.
std::vector<int> draw(const std::vector<float>& logits, const Sampling& sampling, int times) {
  std::mt19937_64 random(sampling.seed);
  std::vector<int> counts(logits.size());
  for (int i = 0; i < times; ++i) ++counts[static_cast<std::size_t>(sample(logits, sampling, random))];
  return counts;
}

TEST(Sample, TemperatureZeroTakesTheFirstOfTheLikeliest) {
  EXPECT_EQ(draw({0, 3, 3, -1}, {.temperature = 0}, 10), (std::vector<int>{0, 10, 0, 0}));
}

TEST(Sample, FrequenciesFollowTheSoftmaxAtTheTemperature) {
  const std::vector<float> logits = {0, 1, 2, -kInfinity, -1};
  const double temperature = 1.5;
  double total = 0;
  for (const float x : logits) total += std::exp(x / temperature);
  const int times = 20'000;
  const std::vector<int> counts = draw(logits, {.temperature = temperature, .seed = 5}, times);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double p = std::exp(logits[i] / temperature) / total;
    EXPECT_NEAR(counts[i], times * p, 5 * std::sqrt(times * p * (1 - p)) + 1e-9) << i;
  }
}

TEST(Sample, TopKKeepsTheLikeliestWithTheLowerTokenFirst) {
  const std::vector<int> counts = draw({1, 2, 1, 1}, {.temperature = 1, .top_k = 2, .seed = 1}, 200);
  EXPECT_GT(counts[0], 0);
  EXPECT_GT(counts[1], 0);
  EXPECT_EQ(counts[2] + counts[3], 0);
  EXPECT_EQ(draw({1, 2, 1}, {.temperature = 1, .top_k = 1}, 5), (std::vector<int>{0, 5, 0}));
  EXPECT_EQ(draw({1}, {.temperature = 1, .top_k = 9}, 5), (std::vector<int>{5}));
}

TEST(Sample, TopPKeepsTheFewestThatHoldTheMass) {
  const float half = std::log(0.5f), third = std::log(0.3f), fifth = std::log(0.2f);
  const std::vector<int> two = draw({fifth, half, third}, {.temperature = 1, .top_p = 0.7, .seed = 2}, 400);
  EXPECT_EQ(two[0], 0);
  EXPECT_NEAR(two[1], 400 * 0.5 / 0.8, 5 * std::sqrt(400 * 0.625 * 0.375));
  EXPECT_EQ(draw({fifth, half, third}, {.temperature = 1, .top_p = 0.4}, 9), (std::vector<int>{0, 9, 0}));
}

TEST(Sample, ASeedDecides) {
  const std::vector<float> logits(50, 0.0f);
  const Sampling sampling{.temperature = 1, .seed = 8};
  EXPECT_EQ(draw(logits, sampling, 100), draw(logits, sampling, 100));
}

TEST(Sample, RefusesNanAndValuesOutOfRange) {
  std::mt19937_64 random(0);
  const std::vector<float> broken = {0, std::nanf("")};
  EXPECT_THROW(sample(broken, {}, random), Error);
  EXPECT_THROW(check_sampling({.temperature = -1}), Error);
  EXPECT_THROW(check_sampling({.top_k = -1}), Error);
  EXPECT_THROW(check_sampling({.top_p = 0}), Error);
  EXPECT_THROW(check_sampling({.top_p = 1.5}), Error);
  EXPECT_NO_THROW(check_sampling({}));
}

}  // namespace
}  // namespace longspan
