// The report on balance against steps that can be reckoned by hand.
#include "trainer/loop/balance_report.h"

#include <gtest/gtest.h>

namespace longspan {
namespace {

double pairs(double length) {
  return length * (length + 1) / 2;
}

// Two data ranks of two sequences each. Every step: a document of 100 and nothing else, four of 25, twice of 50, one
// of 10.
std::vector<std::int64_t> lengths_at(std::int64_t index) {
  switch (index % 4) {
    case 0: return {100};
    case 1: return {50, 50};
    case 2: return {25, 25, 25, 25};
    default: return {10};
  }
}

Config config_of(std::int64_t micro_batches) {
  Config config;
  config.model.head_dim = 8;
  config.data.sequence_length = 100;
  config.data.global_batch = 4;
  config.parallel.data = 2;
  config.parallel.micro_batches = micro_batches;
  return config;
}

TEST(BalanceReport, IsWhatCountingGives) {
  const Config config = config_of(2);
  const BalanceReport report = report_balance(lengths_at, config, resolve_layout(config, 2), 3);
  const double all = pairs(100) + 2 * pairs(50) + 4 * pairs(25) + pairs(10);
  EXPECT_EQ(report.steps, 3);
  EXPECT_EQ(report.kept, 0);
  EXPECT_EQ(report.packed_tokens, 100);
  EXPECT_EQ(report.most_tokens, 125);
  EXPECT_LE(report.placed_tokens, 125);
  const auto expect_figure = [](const BusiestOverMean& figure, double value) {
    EXPECT_NEAR(figure.mean, value, 1e-12);
    EXPECT_NEAR(figure.worst, value, 1e-12);
  };
  expect_figure(report.data_ranks.packed.attention, (pairs(100) + 2 * pairs(50)) / (all / 2));
  expect_figure(report.micro_batches.packed.attention, pairs(100) / (all / 4));
  expect_figure(report.data_ranks.least.attention, pairs(100) / (all / 2));
  expect_figure(report.micro_batches.least.attention, pairs(100) / (all / 4));
  EXPECT_GT(report.attention_share, 0);
  EXPECT_LT(report.attention_share, 1);
  const DocumentWork work(config.model);
  const double tokens_and_all = work.total(100) + 2 * work.total(50) + 4 * work.total(25) + work.total(10);
  expect_figure(report.data_ranks.packed.total, (work.total(100) + 2 * work.total(50)) / (tokens_and_all / 2));
  EXPECT_LT(report.data_ranks.placed.total.mean, report.data_ranks.packed.total.mean);
  EXPECT_GE(report.data_ranks.placed.total.mean, report.data_ranks.least.total.mean);
  EXPECT_NEAR(report.step_work, report.data_ranks.placed.total.mean / report.data_ranks.packed.total.mean, 1e-12);
  EXPECT_NEAR(
      report.attention_share,
      (work.attention(100) + 2 * work.attention(50) + 4 * work.attention(25) + work.attention(10)) / tokens_and_all,
      1e-12);
}

TEST(BalanceReport, TakesStepsOneAfterAnother) {
  const Config config = config_of(1);
  std::vector<std::int64_t> met;
  const auto lengths = [&](std::int64_t index) {
    met.push_back(index);
    return index < 4 ? std::vector<std::int64_t>{30} : std::vector<std::int64_t>{index == 4 ? 60 : 20};
  };
  const BalanceReport report = report_balance(lengths, config, resolve_layout(config, 2), 2);
  EXPECT_EQ(*std::max_element(met.begin(), met.end()), 7);
  const double second = (pairs(60) + pairs(20)) / ((pairs(60) + 3 * pairs(20)) / 2);
  EXPECT_NEAR(report.data_ranks.packed.attention.worst, second, 1e-12);
  EXPECT_NEAR(report.data_ranks.packed.attention.mean, (1 + second) / 2, 1e-12);
}

TEST(BalanceReport, SaysWhereThereWasNoRoom) {
  Config config = config_of(2);
  config.data.balance_tokens = 1;
  const auto full = [](std::int64_t index) {
    return index % 2 == 0 ? std::vector<std::int64_t>{60, 40} : std::vector<std::int64_t>{35, 35, 30};
  };
  const BalanceReport report = report_balance(full, config, resolve_layout(config, 2), 5);
  EXPECT_EQ(report.kept, 5);
  EXPECT_NE(describe(report).find("5 step(s) had no room"), std::string::npos) << describe(report);
}

}  // namespace
}  // namespace longspan
