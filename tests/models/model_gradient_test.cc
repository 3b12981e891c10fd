// Every gradient of the whole model against complex-step derivatives of a scalar reference, on one rank and on several.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <string>

#include "tests/models/model_runs.h"

namespace longspan::test {
namespace {

struct Variant {
  std::string name;
  std::function<void(ModelConfig&)> change;
};

void PrintTo(const Variant& variant, std::ostream* out) {
  *out << variant.name;
}

class ModelGradients : public testing::TestWithParam<Variant> {};

TEST_P(ModelGradients, MatchTheReferenceOnAnyNumberOfRanks) {
  ModelConfig config = tiny_config();
  GetParam().change(config);
  const PackedTokens batch = packed_tokens({0, 8, 8, 9, 23}, config.vocab);
  const Weights<float> weights = test_weights(config, 7);
  const auto labels = static_cast<double>(count_labels(batch));
  ReferenceResult expected = reference_gradients(config, weights, batch);
  for (auto& [name, values] : expected.gradients)
    for (double& value : values) value /= labels;

  for (const int ranks : {1, 2, 3, 8})
    for (const std::string scheme : {"ring", "striped"}) {
      SCOPED_TRACE(scheme + " over " + std::to_string(ranks));
      const RunResult run = run_model(config, weights, batch, {.ranks = ranks, .scheme = scheme});
      EXPECT_EQ(run.num_tokens, count_labels(batch));
      EXPECT_NEAR(run.loss, expected.loss, 2e-6 * expected.loss);
      EXPECT_EQ(run.loss, run.evaluated_loss);
      ASSERT_EQ(run.gradients.size(), expected.gradients.size());
      for (const auto& [name, values] : expected.gradients)
        EXPECT_LT(relative_error(run.gradients.at(name), values), 1e-4) << name;
    }
}

AttentionKind windowed(std::int64_t window) {
  AttentionKind kind;
  kind.window = window;
  return kind;
}

RopeScaling scaling_of(RopeScalingKind kind) {
  RopeScaling scaling;
  scaling.kind = kind;
  scaling.factor = 4;
  scaling.original_length = 16;
  scaling.beta_fast = 2;
  scaling.beta_slow = 0.5;
  return scaling;
}

const Variant kVariants[] = {
    {"plain", [](ModelConfig&) {}},
    {"tied", [](ModelConfig& c) { c.tie_embeddings = true; }},
    {"grouped_queries", [](ModelConfig& c) { c.kv_heads = 2; }},
    {"one_kv_head", [](ModelConfig& c) { c.kv_heads = 1; }},
    {"qk_norm", [](ModelConfig& c) { c.qk_norm = true, c.kv_heads = 2; }},
    {"qkv_bias", [](ModelConfig& c) { c.qkv_bias = true; }},
    {"sink", [](ModelConfig& c) { c.pattern[0].sink = true; }},
    {"full_attention_scaled", [](ModelConfig& c) { c.pattern[0].causal = false, c.pattern[0].scale = 0.3f; }},
    {"windows_in_pattern",
     [](ModelConfig& c) {
       c.pattern = {windowed(3), AttentionKind{}, windowed(1)}, c.layers = 3;
     }},
    {"everything",
     [](ModelConfig& c) {
       c.pattern = {windowed(5), AttentionKind{}};
       c.pattern[0].sink = true;
       c.qk_norm = c.qkv_bias = c.tie_embeddings = true;
       c.kv_heads = 2;
       c.rope_scaling = scaling_of(RopeScalingKind::kYarn);
     }},
    {"mlp_in_chunks", [](ModelConfig& c) { c.recompute = Recompute::kSelective, c.mlp_chunk = 5; }},
    {"recomputed_in_full", [](ModelConfig& c) { c.recompute = Recompute::kFull, c.recompute_layers = 1; }},
    {"rope_llama3", [](ModelConfig& c) { c.rope_scaling = scaling_of(RopeScalingKind::kLlama3), c.layers = 1; }},
    {"rope_linear", [](ModelConfig& c) { c.rope_scaling = scaling_of(RopeScalingKind::kLinear), c.layers = 1; }},
    {"rope_ntk", [](ModelConfig& c) { c.rope_scaling = scaling_of(RopeScalingKind::kNtk), c.layers = 1; }},
};

INSTANTIATE_TEST_SUITE_P(Variants, ModelGradients, testing::ValuesIn(kVariants),
                         [](const auto& test) { return test.param.name; });

// One model's rounding errors are a few draws of luck, and ill-conditioned ones outweigh all others in a sum. The
// geometric mean over many models shows what the number of ranks does to each.
TEST(ModelGradientErrors, DoNotGrowWithTheNumberOfRanks) {
  constexpr int kModels = 32;
  ModelConfig config = tiny_config();
  config.layers = 1;
  config.kv_heads = 2;
  const PackedTokens batch = packed_tokens({0, 32}, config.vocab);
  const auto labels = static_cast<double>(count_labels(batch));
  std::map<std::string, double> logarithms;
  for (std::uint64_t seed = 0; seed < kModels; ++seed) {
    const Weights<float> weights = test_weights(config, seed);
    ReferenceResult expected = reference_gradients(config, weights, batch);
    for (auto& [name, values] : expected.gradients)
      for (double& value : values) value /= labels;
    for (const int ranks : {1, 2, 3, 8})
      for (const std::string scheme : {"ring", "striped"}) {
        const RunResult run = run_model(config, weights, batch, {.ranks = ranks, .scheme = scheme});
        logarithms[scheme + std::to_string(ranks)] += std::log(relative_error(run.gradients, expected.gradients));
      }
  }
  for (const std::string scheme : {"ring", "striped"})
    for (const std::string ranks : {"2", "3", "8"}) {
      const double ratio = std::exp((logarithms[scheme + ranks] - logarithms[scheme + "1"]) / kModels);
      EXPECT_LE(ratio, 1.1) << scheme << " over " << ranks;
      RecordProperty(scheme + ranks, std::to_string(ratio));
    }
}

}  // namespace
}  // namespace longspan::test
