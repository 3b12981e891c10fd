// A model cut into stages: the same bits as the whole, in the memory that was predicted, with a watch told rightly.
#include <gtest/gtest.h>

#include "tests/models/stage_runs.h"

namespace longspan::test {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";

ModelConfig random_config(std::mt19937& random) {
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  ModelConfig config = tiny_config();
  config.layers = 1 + below(6);
  config.tie_embeddings = below(2) == 0;
  config.qk_norm = below(2) == 0;
  config.qkv_bias = below(2) == 0;
  config.kv_heads = std::int64_t{1} << below(3);
  config.pattern.resize(static_cast<std::size_t>(1 + below(3)));
  for (AttentionKind& kind : config.pattern) {
    if (below(2) == 0) kind.window = 1 + below(9);
    kind.sink = below(3) == 0;
  }
  config.recompute = static_cast<Recompute>(below(3));
  if (config.recompute != Recompute::kNone) {
    config.recompute_layers = below(config.layers + 2) - 1;
    if (below(3) == 0) config.mlp_chunk = 1 + below(20);
    if (config.recompute_layers == -1 && below(2) == 0) config.offload = Offload::kActivations;
  }
  return config;
}

std::vector<PackedTokens> random_batches(const ModelConfig& config, std::mt19937& random) {
  std::vector<PackedTokens> batches;
  for (std::uint64_t m = 0, count = 1 + random() % 3; m < count; ++m) {
    const auto length = static_cast<std::int64_t>(random() % 40), cut = static_cast<std::int64_t>(random() % 40);
    batches.push_back(packed_tokens({0, std::min(cut, length), length}, config.vocab));
  }
  return batches;
}

std::string describe(const ModelConfig& config, const StageSetup& setup) {
  return fmt::format("{} recompute {} of {} layers, offload {}, chunks of {}, {}, backward {}, order {}, {} ranks, {}",
                     describe(setup.cut), static_cast<int>(config.recompute), config.recompute_layers,
                     static_cast<int>(config.offload), config.mlp_chunk, config.tie_embeddings ? "tied" : "untied",
                     static_cast<int>(setup.backward), static_cast<int>(setup.order), setup.ranks,
                     name_of(setup.precision));
}

std::vector<double> in_double(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

// The embedding's gradient, where tied, is a sum of two that may come in any order, and on different ranks.
void expect_same(const StageResult& staged, const StageResult& whole, const ModelConfig& config) {
  EXPECT_EQ(staged.loss, whole.loss);
  EXPECT_EQ(staged.num_tokens, whole.num_tokens);
  EXPECT_EQ(staged.evaluated_loss, whole.evaluated_loss);
  std::size_t found = 0, copies = 0;
  std::vector<float> embedding;
  for (const Weights<float>& gradients : staged.gradients)
    for (const auto& [name, values] : gradients) {
      ++found;
      if (name != kEmbedding || !config.tie_embeddings) {
        EXPECT_EQ(values, whole.gradients[0].at(name)) << name;
        continue;
      }
      ++copies;
      embedding.resize(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) embedding[i] += values[i];
    }
  EXPECT_EQ(found, whole.gradients[0].size() + (copies > 1 ? copies - 1 : 0));
  if (config.tie_embeddings) {
    EXPECT_LT(relative_error(embedding, in_double(whole.gradients[0].at(kEmbedding))), 1e-6);
  }
}

TEST(StagePass, AnyCutHasTheBitsOfTheWholeAndTakesWhatWasPredicted) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 150; ++trial) {
    const ModelConfig config = random_config(random);
    StageSetup setup;
    setup.cut = random_cut(config, Alone::kPerhaps, random);
    if (config.offload == Offload::kNone) setup.backward = static_cast<BackwardKind>(random() % 2);
    setup.order = static_cast<Order>(random() % (setup.backward == BackwardKind::kHalves ? 4 : 2));
    setup.ranks = random() % 2 == 0 ? 1 : 3;
    setup.precision = random() % 2 == 0 ? DType::kF32 : DType::kBF16;
    SCOPED_TRACE(fmt::format("trial {}: {}", trial, describe(config, setup)));
    const std::vector<PackedTokens> batches = random_batches(config, random);
    const Weights<float> weights = test_weights(config, static_cast<std::uint64_t>(trial));
    const StageResult staged = run_stages(config, weights, batches, setup);
    expect_same(staged, run_whole(config, weights, batches, setup), config);
    EXPECT_EQ(staged.taken, staged.predicted);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace longspan::test
