// Faults of configs: every sort with its exact message; all of a file at once.
#include <gtest/gtest.h>

#include "kernels/core/error.h"
#include "trainer/config/config.h"

namespace longspan {
namespace {

std::string fault(const std::string& yaml, const std::vector<Override>& overrides = {}) {
  try {
    parse_config(yaml, "x.yaml", overrides);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "no fault";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(ConfigFaults, UnknownKeys) {
  EXPECT_EQ(fault("model:\n  hiden: 8\n"), "x.yaml:2: model.hiden: unknown key; did you mean model.hidden?");
  EXPECT_EQ(fault("optimiser:\n  lr: 1\n"), "x.yaml:1: optimiser: unknown key; did you mean optimizer?");
  EXPECT_EQ(fault("model:\n  lr: 1\n"), "x.yaml:2: model.lr: unknown key; did you mean optimizer.lr?");
  EXPECT_EQ(fault("\n\nmodel:\n  rope:\n    scaling: {facter: 2}\n"),
            "x.yaml:5: model.rope.scaling.facter: unknown key; did you mean model.rope.scaling.factor?");
  EXPECT_EQ(fault("checkpoint:\n  compression_level: 1\n"),
            "x.yaml:2: checkpoint.compression_level: unknown key; checkpoint has dir, every, keep, async, resume");
  EXPECT_EQ(
      fault("telemetry: 1\n"),
      "x.yaml:1: telemetry: unknown key; the sections are run, model, data, optimizer, parallel, checkpoint, log");
  EXPECT_EQ(fault("run.steps: 5\n"),
            "x.yaml:1: run.steps: unknown key; in a file, keys stand indented below their section");
  EXPECT_EQ(fault("model:\n  pattern:\n    - {window: 8}\n    - {windw: 8}\n"),
            "x.yaml:4: model.pattern[1].windw: unknown key; did you mean window?");
  EXPECT_EQ(fault("model:\n  <<: {layers: 3}\n").substr(0, 32), "x.yaml:2: model.<<: unknown key;");
}

TEST(ConfigFaults, DuplicateKeys) {
  EXPECT_EQ(fault("run:\n  steps: 1\n  name: a\n  steps: 2\n"), "x.yaml:4: run.steps: given twice; first in line 2");
  EXPECT_EQ(fault("run:\n  steps: 1\nmodel:\n  layers: 1\nrun:\n  name: b\n"),
            "x.yaml:5: run: given twice; first in line 1");
  EXPECT_EQ(fault("model:\n  pattern: [{window: 1, window: 2}]\n"),
            "x.yaml:2: model.pattern[0].window: given twice; first in line 2");
}

TEST(ConfigFaults, IllTypedValues) {
  EXPECT_EQ(fault("run: {steps: abc}"), "x.yaml:1: run.steps: expected an integer, at least 1, not 'abc'");
  EXPECT_EQ(fault("run: {steps: 1.5}"), "x.yaml:1: run.steps: expected an integer, at least 1, not '1.5'");
  EXPECT_EQ(fault("run: {steps: 1e3}"), "x.yaml:1: run.steps: expected an integer, at least 1, not '1e3'");
  EXPECT_EQ(fault("run: {steps: 10 000}"), "x.yaml:1: run.steps: expected an integer, at least 1, not '10 000'");
  EXPECT_EQ(fault("run: {steps: \"10\"}"), "x.yaml:1: run.steps: expected an integer, at least 1, not the text \"10\"");
  EXPECT_EQ(fault("run: {steps: 9223372036854775808}"),
            "x.yaml:1: run.steps: expected an integer, at least 1, not '9223372036854775808'");
  EXPECT_EQ(fault("run:\n  steps:\n"), "x.yaml:2: run.steps: expected an integer, at least 1, not nothing");
  EXPECT_EQ(fault("run: {steps: [1, 2]}"), "x.yaml:1: run.steps: expected an integer, at least 1, not the list [1, 2]");
  EXPECT_EQ(fault("run: {steps: {a: 1}}"), "x.yaml:1: run.steps: expected an integer, at least 1, not a map");
  EXPECT_EQ(fault("run: {seed: -1}"),
            "x.yaml:1: run.seed: expected an integer from 0 to 18446744073709551615, not '-1'");
  EXPECT_EQ(fault("optimizer: {lr: fast}"), "x.yaml:1: optimizer.lr: expected a number, at least 0, not 'fast'");
  EXPECT_EQ(fault("optimizer: {lr: .nan}"), "x.yaml:1: optimizer.lr: expected a number, at least 0, not '.nan'");
  EXPECT_EQ(fault("optimizer: {lr: nan}"), "x.yaml:1: optimizer.lr: expected a number, at least 0, not 'nan'");
  EXPECT_EQ(fault("optimizer: {lr: inf}"), "x.yaml:1: optimizer.lr: expected a number, at least 0, not 'inf'");
  EXPECT_EQ(fault("optimizer: {lr: 1e999}"), "x.yaml:1: optimizer.lr: expected a number, at least 0, not '1e999'");
  EXPECT_EQ(fault("log: {ops: yes}"), "x.yaml:1: log.ops: expected true or false, not 'yes'");
  EXPECT_EQ(fault("log: {ops: \"true\"}"), "x.yaml:1: log.ops: expected true or false, not the text \"true\"");
  EXPECT_EQ(fault("run: {name: [a]}"), "x.yaml:1: run.name: expected text, not the list [a]");
  EXPECT_EQ(fault("run: {precision: fp16}"), "x.yaml:1: run.precision: expected one of fp32, bf16, not 'fp16'");
  EXPECT_EQ(fault("model: {recompute: all}"),
            "x.yaml:1: model.recompute: expected one of none, selective, full, not 'all'");
  EXPECT_EQ(fault("data: {train: [a, [b]]}"),
            "x.yaml:1: data.train: expected a text or a list of texts, not the list [a, …]");
  EXPECT_EQ(fault("data: {train: {a: 1}}"), "x.yaml:1: data.train: expected a text or a list of texts, not a map");
  EXPECT_EQ(fault("data: {weights: 1}"), "x.yaml:1: data.weights: expected a list of numbers, above 0, not '1'");
  EXPECT_EQ(fault("model: {rope: {scaling: {attention_factor: none}}}"),
            "x.yaml:1: model.rope.scaling.attention_factor: expected a number, above 0, or null, not 'none'");
}

TEST(ConfigFaults, OutOfRange) {
  EXPECT_EQ(fault("run: {steps: 0}"), "x.yaml:1: run.steps: expected an integer, at least 1, not '0'");
  EXPECT_EQ(fault("model: {kv_heads: 0}"),
            "x.yaml:1: model.kv_heads: expected an integer, at least 1, or auto, not '0'");
  EXPECT_EQ(fault("run: {threads: 5000}"),
            "x.yaml:1: run.threads: expected an integer, at least 1 and at most 4096, or auto, not '5000'");
  EXPECT_EQ(fault("optimizer: {beta2: 1}"),
            "x.yaml:1: optimizer.beta2: expected a number, at least 0 and below 1, not '1'");
  EXPECT_EQ(fault("optimizer: {min_lr_ratio: 1.01}"),
            "x.yaml:1: optimizer.min_lr_ratio: expected a number, from 0 to 1, not '1.01'");
  EXPECT_EQ(fault("run: {timeout_s: 0}"), "x.yaml:1: run.timeout_s: expected a number, above 0, not '0'");
  EXPECT_EQ(fault("data: {train: [a], weights: [0]}"),
            "x.yaml:1: data.weights: expected a list of numbers, above 0, not the list [0]");
  EXPECT_EQ(fault("data: {sequence_length: auto}"),
            "x.yaml:1: data.sequence_length: expected an integer, at least 1 and at most 2147483647, not 'auto'");
}

TEST(ConfigFaults, WrongShapes) {
  EXPECT_EQ(
      fault("just text"),
      "x.yaml:1: expected a map of sections (run, model, data, optimizer, parallel, checkpoint, log), not 'just text'");
  EXPECT_EQ(fault("- a\n- b\n").substr(0, 37), "x.yaml:1: expected a map of sections ");
  EXPECT_EQ(fault("log: 5\n"), "x.yaml:1: log: expected a map of keys (every, ops), not '5'");
  EXPECT_EQ(fault("log:\n  - every: 5\n"), "x.yaml:1: log: expected a map of keys (every, ops), not the list […]");
  EXPECT_EQ(fault("run:\n  [a]: 1\n"), "x.yaml:2: run: expected a key's name, not the list [a]");
  EXPECT_EQ(
      fault("model: {pattern: []}"),
      "x.yaml:1: model.pattern: expected a list of maps, one a layer, such as [{window: 512}, {}], not an empty list");
  EXPECT_EQ(fault("model: {pattern: full}"),
            "x.yaml:1: model.pattern: expected a list of maps, one a layer, such as [{window: 512}, {}], not 'full'");
  EXPECT_EQ(fault("model: {pattern: [softmax]}"),
            "x.yaml:1: model.pattern[0]: expected a map of keys (kind, causal, window, scale, sink), not 'softmax'");
}

TEST(ConfigFaults, NotYaml) {
  EXPECT_TRUE(contains(fault("run:\n\tsteps: 1\n"), "x.yaml:2: not YAML: ")) << fault("run:\n\tsteps: 1\n");
  EXPECT_TRUE(contains(fault("run: {steps: 1\nmodel: {}\n"), "not YAML: "));
  EXPECT_TRUE(contains(fault("run:\n  name: \"open\n"), "not YAML: "));
  EXPECT_TRUE(contains(fault("run:\n  name: 'open"), "not YAML: "));
  EXPECT_TRUE(contains(fault("run:\n  name: \"open\n  dir: x\nmodel: {layers: 1}\n"), "not YAML: "));
  EXPECT_TRUE(contains(fault("a: b: c\n"), "x.yaml:1: not YAML: "));
  EXPECT_TRUE(contains(fault("run: *nobody\n"), "x.yaml:1: not YAML: "));
  EXPECT_TRUE(contains(fault(std::string(20000, '[')), "not YAML: "));
  EXPECT_EQ(fault(std::string("run: {}\0", 8)), "x.yaml: not a text file: byte 7 is zero");
  EXPECT_EQ(fault("run: {steps: 1}\n---\nrun: {steps: 2}\n"),
            "x.yaml:3: a second YAML document begins; an experiment is one");
}

TEST(ConfigFaults, RelationsNeedAFileThatReads) {
  const std::string text = fault("model: {hidden: 96\n", {{"model.heads", "3"}, {"run.steps", "x"}});
  EXPECT_TRUE(contains(text, "not YAML: ")) << text;
  EXPECT_TRUE(contains(text, "\n--run.steps: expected")) << text;
  EXPECT_FALSE(contains(text, "multiple")) << text;
}

TEST(ConfigFaults, BytesThatAreNotUtf8) {
  EXPECT_NE(fault("run:\n  name: \"a\xFF\"\nmodel: {layers: 0}\n"), "no fault");
  EXPECT_EQ(fault("", {{"run.name", "\xFF"}}), "--run.name: expected text, not bytes that are not UTF-8");
}

TEST(ConfigFaults, KindsThatAreNotBuilt) {
  EXPECT_EQ(fault("model:\n  attention:\n    kind: moba\n    block_size: 64\n"),
            "x.yaml:3: model.attention.kind: moba is not built in this version; there is softmax");
  EXPECT_EQ(fault("model:\n  pattern:\n    - {}\n    - {kind: nsa}\n    - {kind: linear, rule: lightning}\n"),
            "x.yaml:4: model.pattern[1].kind: nsa is not built in this version; there is softmax\n"
            "x.yaml:5: model.pattern[2].kind: linear is not built in this version; there is softmax");
  EXPECT_EQ(fault("model: {attention: {kind: flash}}"),
            "x.yaml:1: model.attention.kind: expected softmax, not 'flash'");
}

TEST(ConfigFaults, AttentionAndPatternExcludeEachOther) {
  EXPECT_EQ(fault("model:\n  attention: {window: 8}\n  pattern: [{}]\n"),
            "x.yaml:3: model.pattern: model.attention and model.pattern are given; give one of them");
  EXPECT_EQ(fault("model:\n  pattern: [{}]\n", {{"model.attention.window", "4"}}),
            "--model.attention.window: model.attention and model.pattern are given; give one of them");
}

TEST(ConfigFaults, Overrides) {
  EXPECT_EQ(fault("", {{"model.hiden", "8"}}), "--model.hiden: unknown key; did you mean --model.hidden?");
  EXPECT_EQ(fault("", {{"run.steps", "many"}}), "--run.steps: expected an integer, at least 1, not 'many'");
  EXPECT_EQ(fault("", {{"run.steps", ""}}), "--run.steps: expected an integer, at least 1, not nothing");
  EXPECT_EQ(fault("", {{"model", "5"}}).substr(0, 38), "--model: expected a map of keys (layer");
  EXPECT_EQ(fault("", {{"model.rope", "{thetta: 5}"}}),
            "--model.rope.thetta: unknown key; did you mean --model.rope.theta?");
  EXPECT_EQ(fault("", {{"model.pattern", "[{windw: 5}]"}}),
            "--model.pattern[0].windw: unknown key; did you mean window?");
  EXPECT_TRUE(contains(fault("", {{"data.weights", "[1, 2"}}), "--data.weights: not YAML: "));
  EXPECT_EQ(fault("run: {steps: 0}", {{"run.steps", "5"}}),
            "x.yaml:1: run.steps: expected an integer, at least 1, not '0'")
      << "a fault of the file stays one";
}

TEST(ConfigFaults, RelationsNameBothKeys) {
  EXPECT_EQ(fault("model:\n  heads: 6\n  kv_heads: 4\n  hidden: 96\n"),
            "x.yaml:3: model.kv_heads: 4 does not divide model.heads, 6");
  EXPECT_EQ(fault("model:\n  heads: 3\n"),
            "x.yaml:2: model.heads: with it, model.hidden: 64 is not a multiple of model.heads, 3; change one or give "
            "model.head_dim");
  EXPECT_EQ(fault("model: {hidden: 20, heads: 4}"),
            "x.yaml:1: model.hidden: with it, model.head_dim: 5 is odd, but rotary positions turn pairs");
  EXPECT_EQ(fault("model: {head_dim: 7}"), "x.yaml:1: model.head_dim: 7 is odd, but rotary positions turn pairs");
  EXPECT_EQ(fault("model: {vocab: 258}"),
            "x.yaml:1: model.vocab: 258 is too small for data.tokenizer bytes, which has 259");
  EXPECT_EQ(fault("data: {global_batch: 6}\nparallel: {data: 4}\n"),
            "x.yaml:1: data.global_batch: 6 is not a multiple of parallel.data, 4");
  EXPECT_EQ(
      fault("data: {global_batch: 8}\n", {{"parallel.data", "2"}, {"parallel.micro_batches", "3"}}),
      "--parallel.micro_batches: 3 does not divide the 4 sequences of a data rank (data.global_batch / parallel.data)");
  EXPECT_EQ(
      fault("model: {mlp_chunk: 64}"),
      "x.yaml:1: model.mlp_chunk: 64 needs model.recompute: selective or full; else each chunk's tensors would be kept "
      "all the same");
  EXPECT_EQ(fault("model: {recompute_layers: 0}"),
            "x.yaml:1: model.recompute_layers: 0 needs model.recompute: selective or full");
  EXPECT_EQ(fault("run: {device: cuda}\nmodel:\n  offload: activations\n  recompute: full\n  recompute_layers: 2"),
            "x.yaml:3: model.offload: activations needs model.recompute: selective or full, of all layers; what else "
            "layers keep would stay on the GPU");
  EXPECT_EQ(fault("run: {device: cpu}\nparallel: {comm_sms: 8}\n"),
            "x.yaml:2: parallel.comm_sms: 8 multiprocessors are a GPU's, and run.device is cpu");
  EXPECT_EQ(fault("data: {train: [a, b], weights: [1]}"),
            "x.yaml:1: data.weights: 1 weights for 2 sources in data.train");
  EXPECT_EQ(fault("data: {train: synthetic:passkeys}"),
            "x.yaml:1: data.train: there is no synthetic:passkeys; there is synthetic:passkey");
  EXPECT_EQ(fault("data: {train: synthetic:passkey, tokenizer: m.model}\nmodel: {vocab: 300}"),
            "x.yaml:1: data.train: synthetic:passkey needs data.tokenizer: bytes");
  EXPECT_EQ(
      fault("data: {tokenizer: /no/such.model}"),
      "x.yaml:1: data.tokenizer: /no/such.model: cannot read the tokenizer: No such file or directory; give bytes or "
      "the path of a SentencePiece model");
  EXPECT_EQ(fault("model: {attention: {window: 8, causal: false}}"),
            "x.yaml:1: model.attention.window: 8 needs causal: true");
  EXPECT_EQ(fault("model: {pattern: [{}, {window: 8, causal: false}]}"),
            "x.yaml:1: model.pattern: map 1: window: 8 needs causal: true");
  EXPECT_EQ(
      fault("model: {rope: {scaling: {kind: llama3, low_freq_factor: 4}}}"),
      "x.yaml:1: model.rope.scaling.low_freq_factor: with it, model.rope.scaling.high_freq_factor: 4 must be above "
      "model.rope.scaling.low_freq_factor, 4");
  EXPECT_EQ(fault("run: {name: a/b}"), "x.yaml:1: run.name: 'a/b' cannot be the name of one folder");
  EXPECT_EQ(fault("run: {name: ''}"), "x.yaml:1: run.name: '' cannot be the name of one folder");
  EXPECT_EQ(fault("parallel: {context_scheme: spiral}").substr(0, 44), "x.yaml:1: parallel.context_scheme: expected ");
}

TEST(ConfigFaults, AWrongKeySpoilsNoRelation) {
  EXPECT_EQ(fault("model: {heads: many, kv_heads: 3}"),
            "x.yaml:1: model.heads: expected an integer, at least 1, not 'many'");
}

TEST(ConfigFaults, AllAtOnceInTheOrderOfTheFile) {
  EXPECT_EQ(fault("run:\n  steps: none\n  stepps: 4\nmodel:\n  kv_heads: 3\n  layers: 0\nrun: {}\n",
                  {{"log.every", "0"}, {"nonsense.key", "1"}}),
            "x.yaml:2: run.steps: expected an integer, at least 1, not 'none'\n"
            "x.yaml:3: run.stepps: unknown key; did you mean run.steps?\n"
            "x.yaml:5: model.kv_heads: 3 does not divide model.heads, 4\n"
            "x.yaml:6: model.layers: expected an integer, at least 1, not '0'\n"
            "x.yaml:7: run: given twice; first in line 1\n"
            "--log.every: expected an integer, at least 1, not '0'\n"
            "--nonsense.key: unknown key; the sections are run, model, data, optimizer, parallel, checkpoint, log");
}

}  // namespace
}  // namespace longspan
