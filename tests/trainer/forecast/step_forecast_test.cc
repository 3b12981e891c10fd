// Steps: bubbles that equal theory, sums in buckets by hand, what wider links and more ranks must and must not do.
#include "trainer/forecast/step_forecast.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>

#include "models/model.h"
#include "tests/support/expect_error.h"
#include "tests/support/xml_fault.h"
#include "tests/trainer/forecast/forecast_cases.h"
#include "trainer/forecast/step_drawing.h"

namespace longspan::testing {
namespace {

struct Way {
  int pipeline = 1, data = 1, context = 1;
  std::string schedule = "1f1b";
  std::string context_scheme = "striped";
  int zero = 0;
  int world() const { return pipeline * data * context; }
};

Config config_of(const Way& way) {
  Config config = experiment();
  config.parallel.pipeline = way.pipeline;
  config.parallel.data = way.data;
  config.parallel.context = way.context;
  config.parallel.schedule = way.schedule;
  config.parallel.context_scheme = way.context_scheme;
  config.parallel.zero = way.zero;
  return config;
}

StepForecast forecast(const Way& way, const Machine& machine, int ranks_per_node = 0) {
  const Config config = config_of(way);
  return StepForecaster(config, machine, {.ranks_per_node = ranks_per_node})
      .forecast(config, resolve_layout(config, way.world()));
}

const std::vector<Way> kWays = {{1, 1, 1},
                                {1, 4, 1},
                                {1, 1, 4},
                                {1, 2, 2, "1f1b", "zigzag", 1},
                                {2, 1, 1},
                                {2, 2, 2, "zero_bubble", "ulysses"},
                                {4, 2, 1, "interleaved", "ring", 1},
                                {4, 1, 2, "zbv"},
                                {4, 2, 1, "gpipe"}};

TEST(StepForecast, UniformStagesHaveThePublishedBubble) {
  // The ends of the model cost nothing, so that all stages are alike.
  Machine machine = ideal_machine();
  machine.head_rate = 1e30;
  for (const int pipeline : {1, 2, 4}) {
    const StepForecast step = forecast({.pipeline = pipeline}, machine);
    EXPECT_NEAR(step.bubble, (pipeline - 1.0) / (16 + pipeline - 1), 1e-9) << pipeline;
    EXPECT_NEAR(step.step_seconds, step.timeline.end, 1e-9 * step.step_seconds);
    const Config config = config_of({.pipeline = pipeline});
    StepForecaster forecaster(config, machine, {});
    const ParallelLayout layout = resolve_layout(config, pipeline);
    const double least =
        forecaster.least_seconds(config, layout, BackwardKind::kWhole, forecaster.ideal_context(layout));
    EXPECT_NEAR(least, step.timeline.end, 1e-9 * least);
  }
}

TEST(StepForecast, OneIdealRankTakesTheModelsOperations) {
  const Config config = config_of({});
  const StepForecast step = forecast({}, ideal_machine(1e12));
  // Attention counts 12 D a pair in the model's figure; its backward forms the scores again, 14 D.
  const double attention = attention_flops_per_token(config.model, 512);
  const double flops = training_flops_per_token(config.model, 512) + attention * 2 / 12;
  EXPECT_NEAR(step.step_seconds, 16 * 512 * flops / 1e12, 1e-6 * step.step_seconds);
  EXPECT_NEAR(step.mfu(), training_flops_per_token(config.model, 512) / flops, 1e-6);
  EXPECT_EQ(step.tokens, 16 * 512);
}

TEST(StepForecast, NothingExposedIsNegativeAndNothingIsLost) {
  for (const Way& way : kWays) {
    const StepForecast step = forecast(way, real_machine(), 2);
    EXPECT_GE(step.exposed_data, 0);
    EXPECT_GE(step.exposed_pipeline, 0);
    EXPECT_GE(step.exposed_context, 0);
    EXPECT_GE(step.bubble, 0);
    EXPECT_LT(step.bubble, 1);
    EXPECT_GT(step.update_seconds, 0);
    EXPECT_NEAR(step.step_seconds, step.timeline.end + step.exposed_data + step.update_seconds,
                1e-9 * step.step_seconds);
    EXPECT_EQ(step.exposed_data > 0, way.data * way.context > 1) << way.data << " " << way.context;
    EXPECT_EQ(step.mfu(), 0);  // the chip is not known
  }
}

TEST(StepForecast, NoStepTakesLessThanTheBound) {
  for (const Way& way : kWays) {
    const Config config = config_of(way);
    StepForecaster forecaster(config, real_machine(), {.ranks_per_node = 2});
    const ParallelLayout layout = resolve_layout(config, way.world());
    const bool halves = way.schedule == "zero_bubble" || way.schedule == "zbv";
    const BackwardKind backward = halves ? BackwardKind::kHalves : BackwardKind::kWhole;
    const double least = forecaster.least_seconds(config, layout, backward, forecaster.context_time(config, layout));
    const double ideal = forecaster.least_seconds(config, layout, backward, forecaster.ideal_context(layout));
    const StepForecast step = forecaster.forecast(config, layout);
    EXPECT_LE(ideal, least * (1 + 1e-12));
    EXPECT_GT(ideal, 0.5 * least);
    EXPECT_LE(least, step.timeline.end * (1 + 1e-12));
    EXPECT_GT(least, 0.6 * step.timeline.end) << way.schedule;
  }
}

TEST(StepForecast, WiderLinksNeverSlowAStep) {
  for (const Way& way : kWays) {
    Machine machine = real_machine();
    double before = INFINITY;
    for (int doubled = 0; doubled < 6; ++doubled) {
      const double seconds = forecast(way, machine, 2).step_seconds;
      EXPECT_LE(seconds, before * (1 + 1e-12));
      before = seconds;
      for (Link* link : {&machine.node, &machine.network}) {
        link->bytes_per_second *= 2;
        link->reduced_bytes_per_second *= 2;
        link->seconds_per_message /= 2;
      }
    }
    EXPECT_EQ(before<forecast(way, real_machine(), 2).step_seconds, way.world()> 1);
  }
}

TEST(StepForecast, ZeroUpdatesAShareAndGathersIt) {
  const StepForecast whole = forecast({.data = 4}, real_machine());
  const StepForecast shares = forecast({.data = 4, .zero = 1}, real_machine());
  EXPECT_LT(shares.update_seconds, whole.update_seconds);
  EXPECT_EQ(whole.gather.seconds(), 0);
  EXPECT_GT(shares.gather.seconds(), 0);
  EXPECT_NEAR(shares.sums[0].seconds(), whole.sums[0].seconds() / 2, 0.3 * whole.sums[0].seconds());
}

TEST(StepForecast, RanksThatShareCoresTakeTheSameWorkTogether) {
  Machine machine = ideal_machine();
  machine.cores = 2;
  machine.ranks = 4;  // the rates are those of half a core
  const double four = forecast({.data = 4}, machine).step_seconds;
  const double two = forecast({.data = 2}, machine).step_seconds;
  EXPECT_NEAR(four, two, 1e-6 * two);
  // Whoever has nothing to do leaves its core to the others: no bubble costs anything as long as two have work.
  const StepForecast pipeline = forecast({.pipeline = 4}, machine);
  EXPECT_LT(pipeline.step_seconds, two * 1.35);
  EXPECT_GE(pipeline.step_seconds, two * (1 - 1e-9));
}

TEST(StepForecast, RefusesRatesOfAnotherPrecision) {
  expect_error(ErrorKind::kUsage, {"bf16", "run.precision is fp32", "--precision"},
               [] { StepForecaster(experiment(), machine_of_chip("H100"), {}); });
}

TEST(StepDrawing, IsWholeAndHasARowAPlaceInThePipeline) {
  for (const Way& way : kWays) {
    const StepForecast step = forecast(way, real_machine(), 2);
    const std::string drawing = draw_step(step);
    EXPECT_FALSE(xml_fault(drawing)) << *xml_fault(drawing);
    EXPECT_NE(drawing.find(">optimizer<"), std::string::npos);
    EXPECT_EQ(drawing.find("weights gathered") != std::string::npos, way.zero == 1);
    const auto trace = nlohmann::json::parse(trace_step(step));
    std::size_t slices = 0;
    for (const auto& event : trace["traceEvents"]) slices += event["ph"] == "X" && event["name"] != "optimizer";
    std::size_t operations = 0;
    for (const auto& ops : step.schedule.ops) operations += ops.size();
    const auto places = static_cast<std::size_t>(way.pipeline);
    EXPECT_EQ(slices, operations + places * ((way.data * way.context > 1) + (way.zero == 1)));
  }
}

// One backward from 10 to 20 s, gradients in two buckets of 2 s each: the first is complete at 15, the second at 20.
TEST(ReplicaSum, BucketsFollowTheBackwardByHand) {
  const std::vector<Timeline::Span> spans = {{{PipelineOpKind::kForward, 0, 0}, 0, 10},
                                             {{PipelineOpKind::kBackward, 0, 0}, 10, 20}};
  Stretch sum = sum_in_buckets(spans, {.seconds = 4, .buckets = 2, .shares = {1}});
  EXPECT_DOUBLE_EQ(sum.begin, 15);
  EXPECT_DOUBLE_EQ(sum.end, 22);
  // Slow sums wait for each other: 15-25, 25-35.
  EXPECT_DOUBLE_EQ(sum_in_buckets(spans, {.seconds = 20, .buckets = 2, .shares = {1}}).end, 35);
  // One bucket is complete at the end alone; on the core that computes nothing begins before it.
  EXPECT_DOUBLE_EQ(sum_in_buckets(spans, {.seconds = 4, .buckets = 1, .shares = {1}}).end, 24);
  sum = sum_in_buckets(spans, {.seconds = 4, .buckets = 2, .shares = {1}, .overlap = TransferOverlap::kOnCore});
  EXPECT_DOUBLE_EQ(sum.begin, 20);
  EXPECT_DOUBLE_EQ(sum.end, 24);
  sum = sum_in_buckets(spans, {.seconds = 0, .buckets = 2, .shares = {1}});
  EXPECT_DOUBLE_EQ(sum.seconds(), 0);
}

// Two chunks of a quarter and three quarters of the weights; chunk 1's weights' half ends first. Four buckets of 1 s:
// the first three within chunk 1's from 4 to 7, complete at 5, 6, 7; the last one with chunk 0's at 12.
TEST(ReplicaSum, ChunksEndWhenTheirWeightsDo) {
  const std::vector<Timeline::Span> spans = {
      {{PipelineOpKind::kInputGradient, 1, 0}, 0, 4},
      {{PipelineOpKind::kWeightGradient, 1, 0}, 4, 7},
      {{PipelineOpKind::kInputGradient, 0, 0}, 7, 9},
      {{PipelineOpKind::kWeightGradient, 0, 0}, 9, 12},
  };
  const Stretch sum = sum_in_buckets(spans, {.seconds = 4, .buckets = 4, .shares = {0.25, 0.75}});
  EXPECT_DOUBLE_EQ(sum.begin, 5);
  EXPECT_DOUBLE_EQ(sum.end, 13);
}

TEST(ReplicaSum, EveryRankSendsItsPartToEachOther) {
  Machine machine = ideal_machine();
  machine.node.reduced_bytes_per_second = 10;
  machine.network.reduced_bytes_per_second = 1;
  EXPECT_EQ(scatter_seconds({.ranks = 1}, machine, 800), 0);
  EXPECT_DOUBLE_EQ(scatter_seconds({.ranks = 8}, machine, 800), 7 * 100 / 10.0);
  EXPECT_DOUBLE_EQ(scatter_seconds({.ranks = 8, .ranks_per_node = 4}, machine, 800), 4 * 100 / 1.0);  // beside 3 * 10
  machine.network.reduced_bytes_per_second = 100;
  EXPECT_DOUBLE_EQ(scatter_seconds({.ranks = 8, .ranks_per_node = 4}, machine, 800), 3 * 100 / 10.0);
}

}  // namespace
}  // namespace longspan::testing
