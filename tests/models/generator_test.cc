// Generation with a cache against the whole sequence computed at once.
#include "models/generator.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/models/model_runs.h"

namespace longspan::test {
namespace {

constexpr std::int64_t kArenaBytes = std::int64_t{1} << 28;

ModelConfig rich_config() {
  ModelConfig config = tiny_config();
  config.qk_norm = config.qkv_bias = true;
  config.kv_heads = 2;
  config.pattern.resize(2);
  config.pattern[0].window = 5;
  config.pattern[1].sink = true;
  config.pattern[1].scale = 0.7f;
  return config;
}

// A model with test weights and everything it runs on.
struct Machine {
  ModelConfig config;
  Weights<float> weights;
  Arena weight_arena{"weights", kArenaBytes}, cache{"cache", kArenaBytes}, scratch{"scratch", kArenaBytes};
  Exec exec{.num_threads = 1, .workspace = &scratch};
  Model model;

  explicit Machine(const ModelConfig& model_config, DType precision = DType::kF32)
      : config(model_config),
        weights(test_weights(config, 21)),
        model(config, precision, Gradients::kNone, weight_arena) {
    for (Parameter& parameter : model.parameters()) {
      const std::vector<float>& values = weights.at(parameter.name);
      std::copy(values.begin(), values.end(), parameter.master.get<float>());
    }
    model.refresh_compute(exec);
  }
};

std::vector<double> copy_of(const Tensor& logits) {
  return {logits.get<float>(), logits.get<float>() + logits.numel()};
}

double distance(const std::vector<double>& got, const std::vector<double>& expected) {
  double difference = 0, square = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    square += expected[i] * expected[i];
  }
  return std::sqrt(difference / square);
}

TEST(Generator, LogitsAreThoseOfTheWholeSequenceHoweverItIsFed) {
  for (const bool tied : {false, true}) {
    ModelConfig config = rich_config();
    config.tie_embeddings = tied;
    Machine machine(config);
    const PackedTokens batch = packed_tokens({0, 23}, config.vocab);
    Weights<double> weights;
    for (const auto& [name, values] : machine.weights) weights[name] = {values.begin(), values.end()};
    const auto expected = ReferenceModel<double, KeepExact>(config, weights, {}).logits(batch);
    for (const std::vector<std::size_t>& parts :
         {std::vector<std::size_t>{23}, std::vector<std::size_t>(23, 1), {9, 1, 1, 12}}) {
      Arena::Scope scope(machine.cache);
      Generator generator(machine.model, machine.exec, machine.cache, 23);
      std::size_t fed = 0;
      for (const std::size_t part : parts) {
        const Tensor logits = generator.feed(std::span(batch.tokens).subspan(fed, part));
        fed += part;
        EXPECT_LT(distance(copy_of(logits), expected[fed - 1]), 2e-6) << "after " << fed;
      }
    }
  }
}

TEST(Generator, ALongPromptIsFedInParts) {
  ModelConfig config = rich_config();
  config.layers = 1;
  Machine machine(config);
  const PackedTokens batch = packed_tokens({0, 600}, config.vocab);
  Weights<double> weights;
  for (const auto& [name, values] : machine.weights) weights[name] = {values.begin(), values.end()};
  const auto expected = ReferenceModel<double, KeepExact>(config, weights, {}).logits(batch);
  Generator generator(machine.model, machine.exec, machine.cache, 600);
  EXPECT_LT(distance(copy_of(generator.feed(batch.tokens)), expected.back()), 2e-6);
}

TEST(Generator, AgreesWithTheLossOfTheTrainingForward) {
  for (const DType precision : {DType::kF32, DType::kBF16}) {
    Machine machine(rich_config(), precision);
    const PackedTokens batch = packed_tokens({0, 23}, machine.config.vocab);
    Generator generator(machine.model, machine.exec, machine.cache, 23);
    double loss = 0;
    for (std::size_t t = 0; t < batch.tokens.size(); ++t) {
      const std::vector<double> logits = copy_of(generator.feed({&batch.tokens[t], 1}));
      double sum = 0;
      for (const double logit : logits) sum += std::exp(logit);
      if (batch.labels[t] >= 0) loss += std::log(sum) - logits[static_cast<std::size_t>(batch.labels[t])];
    }
    const RunResult run = run_model(machine.config, machine.weights, batch, {.precision = precision});
    EXPECT_NEAR(loss, run.loss, (precision == DType::kF32 ? 1e-6 : 4e-3) * run.loss);
  }
}

TEST(Generator, TakesTheBytesItSaid) {
  for (const DType precision : {DType::kF32, DType::kBF16})
    for (const std::int64_t max_tokens : {1, 30, 500}) {
      Machine machine(rich_config(), precision);
      const PackedTokens batch = packed_tokens({0, max_tokens}, machine.config.vocab);
      Generator generator(machine.model, machine.exec, machine.cache, max_tokens);
      generator.feed(batch.tokens);
      EXPECT_EQ(machine.cache.peak_bytes(), Generator::bytes(machine.config, precision, max_tokens));
    }
}

std::vector<std::int32_t> generate(const Sampling& sampling, std::int64_t max_new, std::int32_t end) {
  Machine machine(rich_config());
  Generator generator(machine.model, machine.exec, machine.cache, 64);
  const std::vector<std::int32_t> prompt = {1, 2, 3};
  std::vector<std::int32_t> heard;
  const auto made =
      generator.generate(prompt, max_new, end, sampling, [&](std::int32_t token) { heard.push_back(token); });
  EXPECT_EQ(made, heard);
  return made;
}

TEST(Generator, ASeedDecidesWhatIsWritten) {
  const std::vector<std::int32_t> first = generate({.temperature = 1, .seed = 4}, 40, -1);
  EXPECT_EQ(first.size(), 40u);
  EXPECT_EQ(first, generate({.temperature = 1, .seed = 4}, 40, -1));
  EXPECT_NE(first, generate({.temperature = 1, .seed = 5}, 40, -1));
  EXPECT_TRUE(generate({}, 0, -1).empty());
}

TEST(Generator, GreedyTakesTheLikeliestAndStopsAtTheEnd) {
  const std::vector<std::int32_t> greedy = generate({.temperature = 0}, 12, -1);
  Machine machine(rich_config());
  Generator generator(machine.model, machine.exec, machine.cache, 64);
  std::vector<double> logits = copy_of(generator.feed(std::vector<std::int32_t>{1, 2, 3}));
  for (const std::int32_t token : greedy) {
    EXPECT_EQ(token, std::max_element(logits.begin(), logits.end()) - logits.begin());
    logits = copy_of(generator.feed({&token, 1}));
  }
  const std::vector<std::int32_t> cut = generate({.temperature = 0}, 12, greedy[3]);
  const auto end = std::find(greedy.begin(), greedy.end(), greedy[3]);
  EXPECT_EQ(cut, std::vector<std::int32_t>(greedy.begin(), end + 1));
}

TEST(Generator, NamesATokenOutsideTheVocabulary) {
  Machine machine(rich_config());
  Generator generator(machine.model, machine.exec, machine.cache, 4);
  for (const auto wrong : {std::int32_t{-1}, static_cast<std::int32_t>(machine.config.vocab)}) try {
      generator.feed({&wrong, 1});
      FAIL() << wrong;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      EXPECT_NE(std::string(error.what()).find(fmt::format("token {} ", wrong)), std::string::npos) << error.what();
    }
}

TEST(Generator, RefusesWhatDoesNotFit) {
  Machine machine(rich_config());
  Generator generator(machine.model, machine.exec, machine.cache, 4);
  const std::vector<std::int32_t> five(5, 1);
  EXPECT_THROW(generator.feed(five), Error);
  EXPECT_THROW(generator.feed({}), Error);
  EXPECT_NO_THROW(generator.feed(std::span(five).first(4)));
  EXPECT_THROW(generator.feed(std::span(five).first(1)), Error);
  EXPECT_THROW(Generator(machine.model, machine.exec, machine.cache, 0), Error);
  ModelConfig full = tiny_config();
  full.pattern[0].causal = false;
  Machine seer(full);
  EXPECT_THROW(Generator(seer.model, seer.exec, seer.cache, 4), Error);
}

}  // namespace
}  // namespace longspan::test
