// What layers, stages and attention take, against operations that are counted elsewhere and bytes counted by hand.
#include <gtest/gtest.h>

#include "models/model.h"
#include "tests/support/expect_error.h"
#include "tests/trainer/forecast/forecast_cases.h"
#include "trainer/forecast/stage_time.h"

namespace longspan::testing {
namespace {

// Of one rank, a document of so many tokens.
ContextTime attention_of(const Config& config, const Machine& machine, std::int64_t tokens) {
  return AttentionTimes(config, machine, Device::kCpu).of({.ranks = 1, .scheme = "ring"}, {{tokens}, 1});
}

TEST(LayerTime, IsTheModelsOperationsOverTheRate) {
  for (const char* more : {"", "parallel: {}\n"}) {
    Config config = experiment(more);
    config.model.ffn *= *more == 0 ? 1 : 3;
    config.model.heads *= *more == 0 ? 1 : 2;
    const Machine machine = ideal_machine(1e12);
    const LayerTime time = layer_time(config.model, machine);
    const double matrices = training_flops_by_depth(config.model, 1).layers[0] -
                            attention_flops_per_token(config.model, 1) / static_cast<double>(config.model.layers);
    EXPECT_NEAR(time.pre_forward + time.post_forward, matrices / 3 / 1e12, 1e-12 * matrices / 1e12);
    EXPECT_NEAR(time.input_gradient, matrices / 3 / 1e12, 1e-12 * matrices / 1e12);
    EXPECT_NEAR(time.weight_gradient, matrices / 3 / 1e12, 1e-12 * matrices / 1e12);
    EXPECT_NEAR(3 * projection_flops(config.model), matrices, 1e-9 * matrices);
    EXPECT_NEAR(ends_time(config.model, machine).head, training_flops_by_depth(config.model, 1).head / 1e12, 1e-20);
  }
}

TEST(LayerTime, MemoryBoundOperatorsTakeTheirBytes) {
  Machine machine = ideal_machine(1e30);
  machine.bytes_per_second = 1;
  const ModelConfig model{.hidden = 8, .heads = 2, .kv_heads = 1, .head_dim = 4, .ffn = 16, .vocab = 32};
  // By hand, four bytes each. Norm 2 x 8, rotary 2 x (8 + 4); norm 2 x 8, SwiGLU 3 x 16, two residual sums 2 x 8 each.
  const LayerTime time = layer_time(model, machine);
  EXPECT_NEAR(time.pre_forward, 4 * (16 + 24), 1e-9);
  EXPECT_NEAR(time.post_forward, 4 * (16 + 48 + 32), 1e-9);
  EXPECT_NEAR(time.recompute, 4 * (16 + 24 + 16 + 48 + 16), 1e-9);
  // SwiGLU 5 x 16, two norms 3 x 8 each, two sums 3 x 8 each, rotary 24.
  EXPECT_NEAR(time.input_gradient, 4 * (80 + 48 + 48 + 24), 1e-9);
  EXPECT_NEAR(ends_time(model, machine).embedding_backward, 8 * (4 + 8), 1e-9);
  EXPECT_NEAR(carry_bytes(model, DType::kF32).forward, 8 * 12, 1e-9);
}

TEST(AttentionTimes, CountsVisiblePairs) {
  const Config config = experiment();
  const Machine machine = ideal_machine(1e12);
  const ContextTime times = attention_of(config, machine, 100);
  ASSERT_EQ(times.layers.size(), 1u);
  const double pairs = 100 * 101 / 2 * 4;  // of four heads
  EXPECT_NEAR(times.layers[0].forward.seconds, pairs * 4 * 64 / 1e12, 1e-18);
  EXPECT_NEAR(times.layers[0].backward.seconds, pairs * 10 * 64 / 1e12, 1e-18);
  EXPECT_EQ(times.tokens, 100);
}

TEST(AttentionTimes, DocumentsAndWindowsTakeLess) {
  Config config = experiment();
  config.model.pattern = {{}, {.window = 10}};
  AttentionTimes times(config, ideal_machine(), Device::kCpu);
  const auto whole = times.of({.ranks = 4, .scheme = "zigzag"}, {{512}, 1});
  const auto packed = times.of({.ranks = 4, .scheme = "zigzag"}, {{256, 256}, 1});
  EXPECT_LT(whole.layers[1].forward.seconds, 0.1 * whole.layers[0].forward.seconds);
  EXPECT_LT(packed.layers[0].forward.seconds, 0.52 * whole.layers[0].forward.seconds);
  EXPECT_EQ(whole.tokens, 128);
  // Nothing is better than equal shares.
  const ContextTime ideal = times.ideal(4, {{256, 256}, 1});
  EXPECT_LE(ideal.seconds(), packed.seconds());
  EXPECT_NEAR(ideal.seconds(), packed.seconds(), 0.02 * packed.seconds());
  // Two sequences of one document are as one of two.
  EXPECT_EQ(times.of({.ranks = 4, .scheme = "zigzag"}, {{256}, 2}).seconds(), packed.seconds());
  EXPECT_EQ(times.need({.ranks = 4, .scheme = "zigzag"}, {{256}, 2}).tokens, 128);
  // A refusal is the scheme's.
  config.model.heads = config.model.kv_heads = 3;
  AttentionTimes odd(config, ideal_machine(), Device::kCpu);
  expect_error(ErrorKind::kUnsupported, {"two_d", "3 ranks"}, [&] {
    odd.of({.ranks = 3, .scheme = "two_d"}, {{512}, 1});
  });
}

TEST(StageTimes, AddUpOverTheStages) {
  const Config config = experiment();
  const Machine machine = real_machine();
  const StageTimes times(config.model, machine);
  const auto attention = attention_of(config, machine, 512);
  const StageCost whole = times.of(whole_model(config.model), attention).cost;
  StageCost sum{0, 0, 0};
  for (const StageSpan& span :
       {StageSpan{0, 3, true, false}, StageSpan{3, 4, false, false}, StageSpan{4, 8, false, true}}) {
    const StageCost cost = times.of(span, attention).cost;
    sum.forward += cost.forward;
    sum.input_gradient += cost.input_gradient;
    sum.weight_gradient += cost.weight_gradient;
  }
  EXPECT_NEAR(sum.forward, whole.forward, 1e-9 * whole.forward);
  EXPECT_NEAR(sum.input_gradient, whole.input_gradient, 1e-9 * whole.input_gradient);
  EXPECT_NEAR(sum.weight_gradient, whole.weight_gradient, 1e-9 * whole.weight_gradient);
}

TEST(StageTimes, RecomputingTakesForwardAgainAndNoMore) {
  Config config = experiment();
  const Machine machine = real_machine();
  const auto attention = attention_of(config, machine, 512);
  const StageSpan span{0, 4, false, false};
  const auto cost = [&](Recompute recompute, std::int64_t layers) {
    config.model.recompute = recompute;
    config.model.recompute_layers = layers;
    return StageTimes(config.model, machine).of(span, attention).cost;
  };
  const StageCost none = cost(Recompute::kNone, -1), selective = cost(Recompute::kSelective, -1);
  const StageCost full = cost(Recompute::kFull, -1), half = cost(Recompute::kSelective, 2);
  EXPECT_EQ(selective.forward, none.forward);
  EXPECT_EQ(full.weight_gradient, none.weight_gradient);
  EXPECT_GT(selective.input_gradient, none.input_gradient);
  EXPECT_LT(selective.input_gradient, none.input_gradient + none.forward);
  EXPECT_NEAR(half.input_gradient - none.input_gradient, (selective.input_gradient - none.input_gradient) / 2, 1e-12);
  const double attention_again = full.input_gradient - selective.input_gradient;
  EXPECT_GT(attention_again, 4 * attention.layers[0].forward.seconds);
  EXPECT_LT(full.input_gradient, none.input_gradient + none.forward);
}

}  // namespace
}  // namespace longspan::testing
