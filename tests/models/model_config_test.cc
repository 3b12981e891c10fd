// Checks of a model's config, and the counts that follow from it.
#include "models/model_config.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "models/model.h"

namespace longspan {
namespace {

// The message of the error that a change provokes; empty: none.
std::string complaint(const std::function<void(ModelConfig&)>& change, ErrorKind kind = ErrorKind::kUsage) {
  ModelConfig config;
  change(config);
  try {
    check_model_config(config);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "";
}

TEST(CheckModelConfig, NamesTheKeyThatIsWrong) {
  const std::vector<std::pair<std::string, std::function<void(ModelConfig&)>>> wrong = {
      {"model.layers", [](ModelConfig& c) { c.layers = 0; }},
      {"model.hidden", [](ModelConfig& c) { c.hidden = -8; }},
      {"model.heads", [](ModelConfig& c) { c.heads = 6; }},
      {"model.kv_heads", [](ModelConfig& c) { c.kv_heads = 0; }},
      {"model.head_dim", [](ModelConfig& c) { c.head_dim = 15; }},
      {"model.ffn", [](ModelConfig& c) { c.ffn = 0; }},
      {"model.vocab", [](ModelConfig& c) { c.vocab = std::int64_t{1} << 31; }},
      {"model.norm_eps", [](ModelConfig& c) { c.norm_eps = 0; }},
      {"model.init_std", [](ModelConfig& c) { c.init_std = std::numeric_limits<double>::quiet_NaN(); }},
      {"model.rope.theta", [](ModelConfig& c) { c.rope_theta = 1; }},
      {"model.rope.scaling.factor",
       [](ModelConfig& c) { c.rope_scaling = {.kind = RopeScalingKind::kLinear, .factor = 0.5}; }},
      {"model.head_dim", [](ModelConfig& c) { c.rope_scaling.kind = RopeScalingKind::kNtk, c.head_dim = 2; }},
      {"model.rope.scaling.original_length",
       [](ModelConfig& c) { c.rope_scaling = {.kind = RopeScalingKind::kYarn, .original_length = 0}; }},
      {"model.rope.scaling.beta_fast",
       [](ModelConfig& c) { c.rope_scaling = {.kind = RopeScalingKind::kYarn, .beta_fast = 0.5}; }},
      {"model.rope.scaling.high_freq_factor",
       [](ModelConfig& c) { c.rope_scaling = {.kind = RopeScalingKind::kLlama3, .high_freq_factor = 1}; }},
      {"model.pattern", [](ModelConfig& c) { c.pattern.clear(); }},
      {"model.attention.window", [](ModelConfig& c) { c.pattern[0].window = -1; }},
      {"model.attention.window", [](ModelConfig& c) { c.pattern[0].window = 4, c.pattern[0].causal = false; }},
      {"model.pattern[1].scale", [](ModelConfig& c) { c.pattern.resize(2), c.pattern[1].scale = -1.0f; }},
  };
  for (const auto& [key, change] : wrong)
    EXPECT_EQ(complaint(change).find(key), 0u) << key << ": " << complaint(change);
  EXPECT_EQ(complaint([](ModelConfig&) {}), "");
}

TEST(CheckModelConfig, ListsTheKindsOfAttentionThereAre) {
  const std::string text = complaint([](ModelConfig& c) { c.pattern[0].kind = "moba"; }, ErrorKind::kUnsupported);
  EXPECT_NE(text.find("\"moba\""), std::string::npos) << text;
  EXPECT_NE(text.find("softmax"), std::string::npos) << text;
}

ModelConfig llama_3_1_8b() {
  ModelConfig config{
      .layers = 32, .hidden = 4096, .heads = 32, .kv_heads = 8, .head_dim = 128, .ffn = 14336, .vocab = 128256};
  config.tie_embeddings = false;
  return config;
}

TEST(CountParameters, PublishedModels) {
  EXPECT_EQ(count_parameters(llama_3_1_8b()), 8'030'261'248);
  ModelConfig qwen2{.layers = 24,
                    .hidden = 896,
                    .heads = 14,
                    .kv_heads = 2,
                    .head_dim = 64,
                    .ffn = 4864,
                    .vocab = 151936};  // Qwen2.5-0.5B
  qwen2.qkv_bias = true;
  EXPECT_EQ(count_parameters(qwen2), 494'032'768);
  ModelConfig qwen3{.layers = 28,
                    .hidden = 1024,
                    .heads = 16,
                    .kv_heads = 8,
                    .head_dim = 128,
                    .ffn = 3072,
                    .vocab = 151936};  // Qwen3-0.6B
  qwen3.qk_norm = true;
  EXPECT_EQ(count_parameters(qwen3), 596'049'920);
}

TEST(CountFlops, CountsVisiblePairsOneByOne) {
  ModelConfig config;
  config.layers = 3;
  config.pattern.resize(3);
  config.pattern[1].window = 5;
  config.pattern[2].causal = false;
  for (const std::int64_t length : {1, 4, 5, 6, 37}) {
    std::int64_t pairs = 0;
    for (const AttentionKind& kind : config.pattern)
      for (std::int64_t i = 0; i < length; ++i)
        for (std::int64_t j = 0; j < length; ++j)
          pairs += !(kind.causal && j > i) && !(kind.window > 0 && j + kind.window <= i);
    const double expected =
        12.0 * static_cast<double>(pairs * config.heads * config.head_dim) / static_cast<double>(length);
    EXPECT_DOUBLE_EQ(attention_flops_per_token(config, length), expected) << length;
  }
}

TEST(CountFlops, SixPerMatrixParameterTheHeadIncludedOnce) {
  ModelConfig config = llama_3_1_8b();
  // All but the embedding table and the 65 norms.
  const double matrices = 8'030'261'248.0 - 128256.0 * 4096 - 65.0 * 4096;
  EXPECT_DOUBLE_EQ(training_flops_per_token(config, 8192) - attention_flops_per_token(config, 8192), 6 * matrices);
  const double untied = training_flops_per_token(config, 8192);
  config.tie_embeddings = true;
  EXPECT_EQ(training_flops_per_token(config, 8192), untied);
}

}  // namespace
}  // namespace longspan
