// Names, shapes, places and initial values of a model's weights.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/models/model_runs.h"

namespace longspan::test {
namespace {

constexpr std::int64_t kArenaBytes = std::int64_t{1} << 28;

ModelConfig rich_config() {
  ModelConfig config = tiny_config();
  config.kv_heads = 2;
  config.qk_norm = config.qkv_bias = true;
  config.pattern.resize(2);
  config.pattern[1].sink = true;
  return config;
}

TEST(Parameters, NamesAndShapesAreHuggingFaces) {
  using Shape = std::vector<std::int64_t>;
  std::map<std::string, Shape> expected = {
      {"model.embed_tokens.weight", {11, 6}}, {"model.norm.weight", {6}}, {"lm_head.weight", {11, 6}}};
  for (const std::string layer : {"model.layers.0.", "model.layers.1."})
    for (const auto& [name, shape] : std::map<std::string, Shape>{{"input_layernorm.weight", {6}},
                                                                  {"self_attn.q_proj.weight", {16, 6}},
                                                                  {"self_attn.k_proj.weight", {8, 6}},
                                                                  {"self_attn.v_proj.weight", {8, 6}},
                                                                  {"self_attn.q_proj.bias", {16}},
                                                                  {"self_attn.k_proj.bias", {8}},
                                                                  {"self_attn.v_proj.bias", {8}},
                                                                  {"self_attn.q_norm.weight", {4}},
                                                                  {"self_attn.k_norm.weight", {4}},
                                                                  {"self_attn.o_proj.weight", {6, 16}},
                                                                  {"post_attention_layernorm.weight", {6}},
                                                                  {"mlp.gate_proj.weight", {7, 6}},
                                                                  {"mlp.up_proj.weight", {7, 6}},
                                                                  {"mlp.down_proj.weight", {6, 7}}})
      expected[layer + name] = shape;
  expected["model.layers.1.self_attn.sinks"] = {4};

  Arena arena("weights", kArenaBytes);
  Model model(rich_config(), DType::kF32, Gradients::kNone, arena);
  std::map<std::string, Shape> found;
  std::int64_t count = 0;
  for (const Parameter& parameter : model.parameters()) {
    found[parameter.name] = parameter.shape;
    count += parameter.master.numel();
    EXPECT_EQ(parameter.decays, parameter.shape.size() == 2) << parameter.name;
    EXPECT_FALSE(parameter.gradient) << parameter.name;
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(count, count_parameters(rich_config()));

  ModelConfig tied = rich_config();
  tied.tie_embeddings = true;
  Model other(tied, DType::kF32, Gradients::kNone, arena);
  for (const Parameter& parameter : other.parameters()) EXPECT_NE(parameter.name, "lm_head.weight");
}

TEST(Parameters, EachKindLiesInOneBlockAtCacheLines) {
  for (const DType precision : {DType::kF32, DType::kBF16})
    for (const Gradients gradients : {Gradients::kNone, Gradients::kKeep}) {
      Arena arena("weights", kArenaBytes);
      Model model(rich_config(), precision, gradients, arena);
      EXPECT_EQ(arena.used_bytes(), weight_bytes(rich_config(), precision, gradients));
      const auto parameters = model.parameters();
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        const Parameter& parameter = parameters[i];
        const bool sink = parameter.name.ends_with("sinks");  // attention reads them in fp32
        EXPECT_EQ(parameter.compute.dtype, sink ? DType::kF32 : precision);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(parameter.master.data) % 64, 0u);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(parameter.compute.data) % 64, 0u);
        EXPECT_EQ(parameter.compute.data == parameter.master.data, precision == DType::kF32);
        const std::ptrdiff_t offset = parameter.master.get<float>() - parameters[0].master.get<float>();
        EXPECT_TRUE(i == 0 || parameters[i - 1].master.data < parameter.master.data);
        if (gradients == Gradients::kNone) continue;
        EXPECT_EQ(parameter.gradient.get<float>(), model.all_gradients().get<float>() + offset) << parameter.name;
      }
      if (gradients == Gradients::kNone) continue;
      EXPECT_EQ(model.all_gradients().dims, 1);
      for (std::int64_t i = 0; i < model.all_gradients().numel(); ++i)
        ASSERT_EQ(model.all_gradients().get<float>()[i], 0) << i;
    }
}

double spread(const Parameter& parameter) {
  double squares = 0;
  for (std::int64_t i = 0; i < parameter.master.numel(); ++i)
    squares += std::pow(parameter.master.get<float>()[i], 2) / static_cast<double>(parameter.master.numel());
  return std::sqrt(squares);
}

TEST(Initialize, ScalesByTheKindOfWeight) {
  ModelConfig config = rich_config();
  config.hidden = 64;
  config.ffn = 200;
  config.vocab = 100;
  config.layers = 8;
  config.init_std = 0.02;
  Arena arena("weights", kArenaBytes);
  Model model(config, DType::kBF16, Gradients::kNone, arena);
  model.initialize(Exec{}, 11);
  for (const Parameter& parameter : model.parameters()) {
    const bool output = parameter.name.ends_with("o_proj.weight") || parameter.name.ends_with("down_proj.weight");
    const double tolerance = 5 / std::sqrt(2.0 * static_cast<double>(parameter.master.numel()));
    if (parameter.shape.size() == 2) {
      EXPECT_NEAR(spread(parameter) / (output ? 0.005 : 0.02), 1, tolerance) << parameter.name;
    }
    const float constant = parameter.name.find("norm") != std::string::npos ? 1 : 0;
    for (std::int64_t i = 0; i < parameter.master.numel(); ++i) {
      const float value = parameter.master.get<float>()[i];
      ASSERT_TRUE(parameter.shape.size() == 2 || value == constant) << parameter.name;
      if (parameter.compute.dtype == DType::kF32)
        ASSERT_EQ(parameter.compute.get<float>()[i], value);
      else
        ASSERT_EQ(static_cast<float>(parameter.compute.get<bf16>()[i]), static_cast<float>(bf16(value)));
    }
  }
}

TEST(Initialize, DependsOnSeedAndNameOnly) {
  ModelConfig small = tiny_config();
  ModelConfig large = rich_config();
  large.vocab = 40;  // a longer tensor begins with the same values
  const auto values = [](const ModelConfig& config, std::uint64_t seed, const std::string& name) {
    Arena arena("weights", kArenaBytes);
    Model model(config, DType::kF32, Gradients::kKeep, arena);
    model.initialize(Exec{}, seed);
    for (const Parameter& parameter : model.parameters())
      if (parameter.name == name) {
        const float* first = parameter.master.get<float>();
        return std::vector<float>(first, first + 40);
      }
    ADD_FAILURE() << "no " << name;
    return std::vector<float>{};
  };
  for (const std::string name :
       {"model.embed_tokens.weight", "model.layers.1.self_attn.k_proj.weight", "model.layers.0.mlp.down_proj.weight"})
    EXPECT_EQ(values(small, 5, name), values(large, 5, name)) << name;
  EXPECT_NE(values(small, 5, "lm_head.weight"), values(small, 6, "lm_head.weight"));
  EXPECT_NE(values(small, 5, "lm_head.weight"), values(small, 5, "model.embed_tokens.weight"));
}

TEST(Model, RefusesWhatItsConfigForbids) {
  Arena arena("weights", kArenaBytes);
  ModelConfig config = tiny_config();
  config.kv_heads = 3;
  EXPECT_THROW(Model(config, DType::kF32, Gradients::kNone, arena), Error);
}

}  // namespace
}  // namespace longspan::test
