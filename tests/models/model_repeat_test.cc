// Same inputs, same bits: again, with activations computed twice, and with ranks that hold no token.
#include <gtest/gtest.h>

#include "tests/models/model_runs.h"

namespace longspan::test {
namespace {

ModelConfig rich_config() {
  ModelConfig config = tiny_config();
  config.qk_norm = config.qkv_bias = config.tie_embeddings = true;
  config.kv_heads = 2;
  config.pattern.resize(2);
  config.pattern[0].window = 6;
  config.pattern[1].sink = true;
  return config;
}

class ModelRepeats : public testing::TestWithParam<DType> {};

TEST_P(ModelRepeats, SameSeedSameBits) {
  const ModelConfig config = rich_config();
  const PackedTokens batch = packed_tokens({0, 30, 77}, config.vocab);
  for (const int ranks : {1, 3}) {
    const RunSetup setup{.ranks = ranks, .scheme = "striped", .num_threads = 2, .precision = GetParam()};
    const RunResult first = run_model(config, test_weights(config, 3), batch, setup);
    const RunResult second = run_model(config, test_weights(config, 3), batch, setup);
    EXPECT_EQ(first.loss, second.loss);
    EXPECT_EQ(first.gradients, second.gradients);
  }
}

// The more is computed again, the less is kept.
TEST_P(ModelRepeats, RecomputedActivationsHaveTheSameBits) {
  struct Choice {
    Recompute recompute;
    std::int64_t layers;
  };
  ModelConfig config = rich_config();
  config.layers = 3;
  const Weights<float> weights = test_weights(config, 4);
  const PackedTokens batch = packed_tokens({0, 30, 77}, config.vocab);
  for (const int ranks : {1, 3}) {
    const RunSetup setup{.ranks = ranks, .precision = GetParam()};
    config.recompute = Recompute::kNone;
    config.recompute_layers = -1;
    const RunResult kept = run_model(config, weights, batch, setup);
    std::int64_t peak = kept.activation_peaks[0] + 1;
    for (const auto& [recompute, layers] : {Choice{Recompute::kFull, 0},
                                            {Recompute::kSelective, 2},
                                            {Recompute::kFull, 2},
                                            {Recompute::kSelective, -1},
                                            {Recompute::kFull, 3}}) {
      config.recompute = recompute;
      config.recompute_layers = layers;
      const RunResult recomputed = run_model(config, weights, batch, setup);
      EXPECT_EQ(kept.loss, recomputed.loss);
      EXPECT_EQ(kept.gradients, recomputed.gradients);
      EXPECT_LT(recomputed.activation_peaks[0], peak) << static_cast<int>(recompute) << " of " << layers;
      peak = recomputed.activation_peaks[0];
    }
  }
}

// On the host nothing is overlapped, but layers take turns in the same memory as they do on a GPU.
TEST_P(ModelRepeats, OffloadedActivationsHaveTheSameBits) {
  for (const std::int64_t layers : {1, 2, 3, 4, 7}) {
    ModelConfig config = rich_config();
    config.layers = layers;
    const Weights<float> weights = test_weights(config, 4);
    const PackedTokens batch = packed_tokens({0, 30, 77}, config.vocab);
    for (const int ranks : {1, 3}) {
      const RunSetup setup{.ranks = ranks, .precision = GetParam()};
      config.recompute = layers == 4 ? Recompute::kFull : Recompute::kSelective;
      config.offload = Offload::kNone;
      const RunResult here = run_model(config, weights, batch, setup);
      config.offload = Offload::kActivations;
      const RunResult offloaded = run_model(config, weights, batch, setup);
      EXPECT_EQ(here.loss, offloaded.loss) << layers;
      EXPECT_EQ(here.gradients, offloaded.gradients) << layers;
      // But for the last two layers, all of what they keep has left.
      const std::int64_t kept = here.activation_peaks[0] - offloaded.activation_peaks[0];
      EXPECT_EQ(kept > 0, layers > 2);
      EXPECT_GE(kept, offloaded_bytes(config, GetParam(), offloaded.tokens_of_rank[0])) << layers;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, ModelRepeats, testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& test) { return std::string(name_of(test.param)); });

double norm(const std::vector<float>& values) {
  double squares = 0;
  for (const float value : values) squares += std::pow(static_cast<double>(value), 2);
  return std::sqrt(squares);
}

std::vector<float> minus(std::vector<float> a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

// A tensor may differ by so much of its own size; or of the whole gradient's, where its own is nothing but rounding, as
// queries and keys of documents of one token have none.
double scale_of(const std::vector<float>& tensor, const Weights<float>& gradients) {
  double squares = 0;
  for (const auto& [name, values] : gradients) squares += std::pow(norm(values), 2);
  return std::max(norm(tensor), 1e-3 * std::sqrt(squares));
}

TEST(Model, RanksWithoutTokensTakePart) {
  const ModelConfig config = rich_config();
  const Weights<float> weights = test_weights(config, 5);
  for (const std::vector<std::int64_t>& cu_seqlens : {std::vector<std::int64_t>{0, 1, 3}, {0, 0, 5}, {0, 0}}) {
    const PackedTokens batch = packed_tokens(cu_seqlens, config.vocab);
    const RunResult one = run_model(config, weights, batch, {});
    for (const std::string scheme : {"ring", "striped"}) {
      const RunResult many = run_model(config, weights, batch, {.ranks = 8, .scheme = scheme});
      EXPECT_EQ(std::count(many.tokens_of_rank.begin(), many.tokens_of_rank.end(), 0) > 0, true);
      EXPECT_EQ(many.num_tokens, one.num_tokens);
      EXPECT_NEAR(many.loss, one.loss, 1e-5 * one.loss);
      for (const auto& [name, values] : one.gradients)
        EXPECT_LE(norm(minus(many.gradients.at(name), values)), 1e-4 * scale_of(values, one.gradients)) << name;
    }
  }
}

TEST(Model, GradientsAddUp) {
  // A batch in one piece, and its two documents one after the other into the same gradients.
  ModelConfig config = tiny_config();
  const Weights<float> weights = test_weights(config, 6);
  const PackedTokens whole = packed_tokens({0, 20, 20}, config.vocab);
  const RunResult once = run_model(config, weights, whole, {});
  PackedTokens twice = packed_tokens({0, 20, 40}, config.vocab);
  for (std::size_t t = 0; t < 20; ++t) {
    twice.tokens[20 + t] = twice.tokens[t] = whole.tokens[t];
    twice.labels[20 + t] = twice.labels[t] = whole.labels[t];
  }
  const RunResult both = run_model(config, weights, twice, {});
  EXPECT_NEAR(both.loss, 2 * once.loss, 1e-5 * once.loss);
  for (const auto& [name, values] : once.gradients)  // of the mean, hence alike
    EXPECT_LT(relative_error(both.gradients.at(name), {values.begin(), values.end()}), 1e-5) << name;
}

}  // namespace
}  // namespace longspan::test
