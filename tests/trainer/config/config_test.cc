// Configs: values, defaults, what follows from other keys, overrides and their precedence.
#include "trainer/config/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <unistd.h>

#include "kernels/core/error.h"

namespace longspan {
namespace {

Config parse(const std::string& yaml, const std::vector<Override>& overrides = {}) {
  return parse_config(yaml, "x.yaml", overrides);
}

TEST(Config, NothingGivesDefaults) {
  for (const char* yaml : {"", "# only a comment\n", "model:\n", "{}", "---\n", "data:\n  # nothing\nrun:\n"}) {
    const Config config = parse(yaml);
    EXPECT_EQ(config.run.steps, 1000);
    EXPECT_EQ(config.model.vocab, 259) << "of the tokenizer bytes";
    EXPECT_EQ(config.model.kv_heads, config.model.heads);
    EXPECT_EQ(config.model.head_dim, config.model.hidden / config.model.heads);
    EXPECT_EQ(config.parallel.context, 0);
    EXPECT_EQ(config.run_folder(), "runs/default");
    EXPECT_EQ(config.checkpoint_folder(), "runs/default/checkpoints");
    EXPECT_EQ(config.model.pattern, std::vector<AttentionKind>{AttentionKind{}});
  }
}

TEST(Config, ReadsEverySort) {
  const Config config = parse(R"(
run: {name: a run, seed: 18446744073709551615, precision: bf16, timeout_s: 1.5e2}
model:
  layers: 6
  hidden: 96
  heads: 6
  kv_heads: 2
  head_dim: auto
  tie_embeddings: false
  recompute: selective
  rope:
    theta: 5e5
    scaling: {kind: yarn, factor: 4, attention_factor: 1.25}
  attention: {window: 128, sink: true, scale: 0.1}
data:
  train: [a.h5, 'b c.h5', "d\"e"]
  weights: [1, 2.5, 1e-3]
  validation: v.h5
  packing: documents
  sequence_length: 65536
parallel: {context: auto, micro_batches: 1}
log: {ops: true}
)");
  EXPECT_EQ(config.run.name, "a run");
  EXPECT_EQ(config.run.seed, 18446744073709551615ULL);
  EXPECT_EQ(config.run.precision, "bf16");
  EXPECT_EQ(config.run.timeout_s, 150);
  EXPECT_EQ(config.model.kv_heads, 2);
  EXPECT_EQ(config.model.head_dim, 16);
  EXPECT_FALSE(config.model.tie_embeddings);
  EXPECT_EQ(config.model.recompute, Recompute::kSelective);
  EXPECT_EQ(config.model.rope_theta, 5e5);
  EXPECT_EQ(config.model.rope_scaling.kind, RopeScalingKind::kYarn);
  EXPECT_EQ(config.model.rope_scaling.attention_factor, 1.25);
  EXPECT_EQ(config.model.pattern, (std::vector<AttentionKind>{{.window = 128, .scale = 0.1f, .sink = true}}));
  EXPECT_EQ(config.data.train, (std::vector<std::string>{"a.h5", "b c.h5", "d\"e"}));
  EXPECT_EQ(config.data.weights, (std::vector<double>{1, 2.5, 1e-3}));
  EXPECT_EQ(config.data.validation, (std::vector<std::string>{"v.h5"}));
  EXPECT_EQ(config.parallel.micro_batches, 1);
  EXPECT_TRUE(config.log.ops);
}

TEST(Config, PatternsRepeatOverDepth) {
  const Config config = parse("model:\n  layers: 7\n  pattern:\n    - {window: 512}\n    - {window: 512}\n    - {}\n");
  ASSERT_EQ(config.model.pattern.size(), 3u);
  EXPECT_EQ(config.model.attention_of(0).window, 512);
  EXPECT_EQ(config.model.attention_of(2).window, 0);
  EXPECT_EQ(config.model.attention_of(4).window, 512);
  EXPECT_EQ(config.model.attention_of(5).window, 0);
}

TEST(Config, AnchorsAndAliasesStandForTheirValues) {
  const Config config = parse("model:\n  pattern: [&near {window: 64}, *near, {}]\n");
  EXPECT_EQ(config.model.pattern[1].window, 64);
}

TEST(Config, OverridesHoldOverTheFileAndLaterOverEarlier) {
  const std::string yaml = "run:\n  steps: 5\n  name: file\nmodel:\n  layers: 3\n";
  const Config config = parse(yaml, {{"run.steps", "6"}, {"run.steps", "7"}, {"run.name", "a: b #c"}});
  EXPECT_EQ(config.run.steps, 7);
  EXPECT_EQ(config.run.name, "a: b #c") << "text is taken as it stands";
  EXPECT_EQ(config.model.layers, 3);
}

TEST(Config, OverridesTakeListsMapsAndSections) {
  const Config lists = parse("", {{"data.train", "[a.h5, b.h5]"}, {"data.weights", "[1, 3]"}});
  EXPECT_EQ(lists.data.train, (std::vector<std::string>{"a.h5", "b.h5"}));
  EXPECT_EQ(lists.data.weights, (std::vector<double>{1, 3}));
  EXPECT_EQ(parse("", {{"data.train", "a: b.h5"}}).data.train, (std::vector<std::string>{"a: b.h5"}));
  EXPECT_EQ(parse("", {{"model.pattern", "[{window: 8}, {}]"}}).model.pattern[0].window, 8);
  EXPECT_EQ(parse("", {{"model.attention.window", "16"}}).model.pattern[0].window, 16);
  EXPECT_EQ(parse("", {{"model.attention", "{window: 17}"}}).model.pattern[0].window, 17);
  const Config rope = parse("model:\n  rope: {theta: 2}\n", {{"model.rope", "{scaling: {kind: linear, factor: 2}}"}});
  EXPECT_EQ(rope.model.rope_theta, 2) << "what a section does not name stays";
  EXPECT_EQ(rope.model.rope_scaling.factor, 2);
  EXPECT_EQ(parse("checkpoint: {dir: x}", {{"checkpoint.dir", ""}}).checkpoint.dir, "");
}

TEST(Config, LoadsFiles) {
  const std::string path = std::filesystem::temp_directory_path() / ("longspan-config-" + std::to_string(getpid()));
  std::ofstream(path) << "run:\n  name: from a file\n";
  EXPECT_EQ(load_config(path, {}).run.name, "from a file");
  std::ofstream(path, std::ios::trunc).flush();
  EXPECT_EQ(load_config(path, {}).run.name, "default");
  std::filesystem::remove(path);
}

TEST(Config, FilesThatCannotBeReadAreNamed) {
  const auto fault = [](const std::string& path) {
    try {
      load_config(path, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return std::string(error.what());
    }
    return std::string("no fault");
  };
  EXPECT_EQ(fault("/no/such.yaml"), "/no/such.yaml: cannot read the experiment: No such file or directory");
  EXPECT_EQ(fault("/tmp"), "/tmp: is a folder; name an experiment's file in it");
}

TEST(Config, ShippedExperimentsAreValid) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LONGSPAN_SOURCE "/configs")) {
    if (entry.path().extension() != ".yaml") continue;
    ++count;
    EXPECT_NO_THROW(load_config(entry.path(), {})) << entry.path();
  }
  EXPECT_GE(count, 3);
}

}  // namespace
}  // namespace longspan
