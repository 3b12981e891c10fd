// Schedules: values at the edges, continuity, shape.
#include "trainer/loop/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/core/error.h"

namespace longspan {
namespace {

constexpr std::int64_t kTotal = 1000, kWarmup = 100;

OptimizerConfig config_of(const std::string& schedule) {
  OptimizerConfig config;
  config.lr = 2;
  config.min_lr_ratio = 0.1;
  config.schedule = schedule;
  config.warmup_steps = kWarmup;
  config.decay_fraction = 0.25;
  return config;
}

class EverySchedule : public testing::TestWithParam<const char*> {};

TEST_P(EverySchedule, RisesLinearlyToThePeak) {
  const OptimizerConfig config = config_of(GetParam());
  EXPECT_DOUBLE_EQ(learning_rate(config, kTotal, 1), 2.0 / kWarmup);
  EXPECT_DOUBLE_EQ(learning_rate(config, kTotal, kWarmup / 2), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(config, kTotal, kWarmup), 2.0);
}

TEST_P(EverySchedule, NeverJumpsNorRisesAfterWarmUp) {
  const OptimizerConfig config = config_of(GetParam());
  for (std::int64_t step = 1; step < kTotal + 50; ++step) {
    const double now = learning_rate(config, kTotal, step), next = learning_rate(config, kTotal, step + 1);
    EXPECT_LE(std::abs(next - now), 2.0 / kWarmup + 1e-12) << step;
    if (step >= kWarmup) {
      EXPECT_LE(next, now) << step;
    }
    EXPECT_GT(now, 0) << step;
  }
}

TEST_P(EverySchedule, KeepsItsLastValueAndNeedsNoWarmUp) {
  OptimizerConfig config = config_of(GetParam());
  EXPECT_DOUBLE_EQ(learning_rate(config, kTotal, kTotal), learning_rate(config, kTotal, 5 * kTotal));
  config.warmup_steps = 0;
  EXPECT_GT(learning_rate(config, kTotal, 1), 1.99);
  config.warmup_steps = kTotal;  // nothing left to decay over
  EXPECT_DOUBLE_EQ(learning_rate(config, kTotal, kTotal), 2.0);
}

INSTANTIATE_TEST_SUITE_P(Names, EverySchedule, testing::Values("constant", "linear", "cosine", "wsd"));

TEST(Schedule, EndsWhereItShould) {
  EXPECT_DOUBLE_EQ(learning_rate(config_of("constant"), kTotal, kTotal), 2.0);
  for (const char* name : {"linear", "cosine", "wsd"})
    EXPECT_NEAR(learning_rate(config_of(name), kTotal, kTotal), 0.2, 1e-12) << name;
}

TEST(Schedule, HalfWay) {
  const std::int64_t half = (kTotal + kWarmup) / 2;
  EXPECT_NEAR(learning_rate(config_of("linear"), kTotal, half), 1.1, 1e-12);
  EXPECT_NEAR(learning_rate(config_of("cosine"), kTotal, half), 1.1, 1e-12);
  // A quarter of the way the cosine has come down by sin^2(pi / 8) only.
  const double quarter = 0.2 + 1.8 * (1 - std::pow(std::sin(std::acos(-1.0) / 8), 2));
  EXPECT_NEAR(learning_rate(config_of("cosine"), kTotal, kWarmup + (kTotal - kWarmup) / 4), quarter, 1e-12);
}

TEST(Schedule, WsdStaysUntilItsLastShare) {
  EXPECT_DOUBLE_EQ(learning_rate(config_of("wsd"), kTotal, 750), 2.0);
  EXPECT_NEAR(learning_rate(config_of("wsd"), kTotal, 875), 1.1, 1e-12);
}

TEST(Schedule, RefusesAnUnknownName) {
  EXPECT_THROW(learning_rate(config_of("cosin"), kTotal, 5), Error);
}

}  // namespace
}  // namespace longspan
