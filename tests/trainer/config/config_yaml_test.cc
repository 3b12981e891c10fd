// to_yaml: what it writes parses to the same values and writes the same again, for many random configs.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "trainer/config/config.h"
#include "trainer/config/key_table.h"
#include "trainer/config/value_text.h"
#include "trainer/config/visitor.h"

namespace longspan {
namespace {

// A valid config with random values under every key of the table.
class RandomConfig {
 public:
  explicit RandomConfig(std::uint64_t seed) : random_(seed) {}

  Config make() {
    Config config;
    for (const Key& key : key_table()) fill(key, config);
    config.run.name = "n" + std::to_string(random_() % 1000);
    ModelConfig& model = config.model;
    model.kv_heads = 1 + integer(4);
    model.heads = model.kv_heads * (1 + integer(4));
    model.head_dim = 4 * (1 + integer(30));
    model.vocab = 259 + integer(100000);
    model.rope_scaling.high_freq_factor = model.rope_scaling.low_freq_factor + 1 + real();
    model.rope_scaling.beta_fast = model.rope_scaling.beta_slow + real();
    model.pattern.resize(static_cast<std::size_t>(1 + integer(4)));
    for (AttentionKind& attention : model.pattern) {
      attention = {.causal = true, .window = integer(1000), .sink = integer(2) == 0};
      if (integer(2) == 0) attention.scale = static_cast<float>(real());
    }
    config.data.tokenizer = "bytes";
    config.data.train = texts();
    if (integer(2) == 0)
      config.data.weights.clear();
    else
      config.data.weights.assign(config.data.train.size(), real());
    config.data.balance_tokens = 1 + 1 / (1 + real());
    config.parallel.data = 1 + integer(3);
    if (config.model.offload == Offload::kActivations) {
      config.model.recompute = Recompute::kFull;
      config.model.recompute_layers = -1;
      if (config.run.device == "cpu") config.run.device = "cuda";
    }
    if (config.parallel.comm_sms > 0 && config.run.device == "cpu") config.run.device = "cuda";
    if (config.model.mlp_chunk > 0 && config.model.recompute == Recompute::kNone)
      config.model.recompute = Recompute::kSelective;
    if (config.model.recompute == Recompute::kNone) config.model.recompute_layers = -1;
    config.parallel.micro_batches = integer(4);
    config.parallel.schedule = integer(2) == 0 ? "zbv" : text() + ".csv";
    for (std::int64_t left = config.model.layers; left > 0 && config.parallel.stages.size() < 4;) {
      config.parallel.stages.push_back(config.parallel.stages.size() == 3 ? left : 1 + integer(left));
      left -= config.parallel.stages.back();
    }
    config.data.global_batch = config.parallel.data * std::max<std::int64_t>(1, config.parallel.micro_batches) * 2;
    return config;
  }

 private:
  std::int64_t integer(std::int64_t below) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(below));
  }
  // Above 0, of any size, all bits of the mantissa in use.
  double real() {
    const double mantissa = 1 + static_cast<double>(random_() >> 12) * 0x1p-52;
    return std::ldexp(mantissa, static_cast<int>(integer(60)) - 30);
  }
  std::string text() {
    static const std::vector<std::string> kAwkward = {
        "plain.h5",  "with blank", "null",        "true",  "~",   "12",       "1e5", "- a",         "a: b",
        "a #b",      "#",          "'",           "\"",    "\\",  "\n",       "\t",  "[a]",         "{a}",
        "*a",        "&a",         "!a",          "%a",    "@a",  "`a`",      "a,b", "caf\xC3\xA9", "\xF0\x9F\x98\x80",
        "trailing ", " leading",   "a:",          ":",     "?",   "| x",      "> x", "---",         "...",
        "./x",       "../y",       "/z/w-1_2.h5", "C:\\x", "yes", "\x01\x7F", "\r\n"};
    return kAwkward[static_cast<std::size_t>(integer(static_cast<std::int64_t>(kAwkward.size())))];
  }
  std::vector<std::string> texts() {
    std::vector<std::string> list(static_cast<std::size_t>(1 + integer(3)));
    for (std::string& entry : list) entry = text();
    return list;
  }
  std::int64_t within(const KeyTraits& t) {
    const auto low = std::isfinite(t.at_least) ? static_cast<std::int64_t>(t.at_least) : 0;
    return low + integer(std::isfinite(t.at_most)
                             ? std::min<std::int64_t>(1000, static_cast<std::int64_t>(t.at_most) - low)
                             : 1000000);
  }
  double real_within(const KeyTraits& t) {
    if (t.at_most == 1 || t.below == 1) return static_cast<double>(random_() >> 11) * 0x1p-53;
    const double low = std::max(std::isfinite(t.at_least) ? t.at_least : 0, std::isfinite(t.above) ? t.above : 0);
    return std::isfinite(t.at_most) ? std::min(low + real(), t.at_most) : low + real();
  }
  void fill(const Key& key, Config& config) {
    const auto& choices = key.traits.choices;
    const std::size_t choice =
        choices.empty() ? 0 : static_cast<std::size_t>(integer(static_cast<std::int64_t>(choices.size())));
    std::visit(Visitor{
                   [&](const Place<bool>& place) { place(config) = integer(2) == 0; },
                   [&](const Place<std::int64_t>& place) { place(config) = within(key.traits); },
                   [&](const Place<std::uint64_t>& place) { place(config) = random_(); },
                   [&](const Place<double>& place) { place(config) = real_within(key.traits); },
                   [&](const Place<std::optional<double>>& place) {
                     place(config) = integer(2) == 0 ? std::optional(real()) : std::nullopt;
                   },
                   [&](const Place<std::optional<float>>&) {},
                   [&](const Place<std::string>& place) { place(config) = choices.empty() ? text() : choices[choice]; },
                   [&](const Place<std::vector<std::string>>& place) { place(config) = texts(); },
                   [&](const Place<std::vector<double>>&) {},
                   [&](const Place<std::vector<std::int64_t>>&) {},
                   [&](const Place<std::vector<AttentionKind>>&) {},
                   [&](const ChosenPlace& place) { place.set(config, choice); },
               },
               key.place);
  }
  std::mt19937_64 random_;
};

void expect_same_values(const Config& a, const Config& b, const std::string& yaml) {
  for (const Key& key : key_table()) EXPECT_EQ(value_text(key, a), value_text(key, b)) << key.path << "\n" << yaml;
  EXPECT_EQ(a.model.pattern, b.model.pattern);
  EXPECT_EQ(a.data.train, b.data.train);
  EXPECT_EQ(a.optimizer.lr, b.optimizer.lr);
  EXPECT_EQ(a.data.weights, b.data.weights);
  EXPECT_EQ(a.model.rope_scaling.attention_factor, b.model.rope_scaling.attention_factor);
  EXPECT_EQ(a.run.seed, b.run.seed);
  EXPECT_EQ(a.checkpoint.dir, b.checkpoint.dir);
}

TEST(ConfigYaml, RandomConfigsRoundTrip) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Config config = RandomConfig(seed).make();
    if (config.run.dir.empty()) config.run.dir = "runs";
    const std::string yaml = to_yaml(config);
    Config back;
    ASSERT_NO_THROW(back = parse_config(yaml, "again.yaml", {})) << yaml;
    expect_same_values(config, back, yaml);
    ASSERT_EQ(to_yaml(back), yaml);
  }
}

TEST(ConfigYaml, DefaultsReadWell) {
  const std::string yaml = to_yaml(parse_config("model: {pattern: [{window: 512}, {}]}", "x", {}));
  EXPECT_EQ(yaml.substr(0, 60), "run:\n  dir: runs\n  name: default\n  seed: 1\n  steps: 1000\n  d");
  EXPECT_NE(yaml.find("\n  kv_heads: 4\n"), std::string::npos);
  EXPECT_NE(yaml.find("\n  rope:\n    theta: 10000\n    scaling:\n      kind: none\n"), std::string::npos);
  EXPECT_NE(yaml.find("\n  pattern:\n"
                      "    - {kind: softmax, causal: true, window: 512, scale: null, sink: false}\n"
                      "    - {kind: softmax, causal: true, window: 0, scale: null, sink: false}\n"
                      "data:\n  train: []\n"),
            std::string::npos)
      << yaml;
  EXPECT_NE(yaml.find("\n  context: auto\n"), std::string::npos);
  EXPECT_NE(yaml.find("\n  lr: 0.0003\n"), std::string::npos);
}

TEST(ConfigYaml, OneAttentionIsWrittenAsSuch) {
  const std::string yaml = to_yaml(parse_config("", "x", {}));
  EXPECT_NE(yaml.find("\n  attention:\n    kind: softmax\n    causal: true\n    window: 0\n"), std::string::npos)
      << yaml;
  EXPECT_EQ(yaml.find("pattern"), std::string::npos);
}

}  // namespace
}  // namespace longspan
