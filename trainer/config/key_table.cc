#include "trainer/config/key_table.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "models/layers/layer_list.h"
#include "parallel/context/planner.h"
#include "parallel/pipeline/schedule_planner.h"

namespace longspan {
namespace {

template <class T>
Place<T> as_place(std::function<T&(Config&)> place) {
  return place;
}

// The place of a member of one section's struct.
template <class Section, class T>
AnyPlace at(Section Config::*section, T Section::*member) {
  return as_place<T>([=](Config& config) -> T& { return config.*section.*member; });
}

template <class List>
std::vector<std::string> names_of(const List& list) {
  std::vector<std::string> names;
  for (const auto* entry : list) names.emplace_back(entry->name());
  return names;
}

std::vector<std::string> context_schemes() {
  const std::vector<std::string_view> names = context_scheme_names();
  return {names.begin(), names.end()};
}

std::vector<Key> run_keys() {
  using C = RunConfig;
  const auto run = [](auto member) { return at(&Config::run, member); };
  return {
      {"run.dir", run(&C::dir), "Folder of all runs"},
      {"run.name", run(&C::name), "Name of this run; its files stand in run.dir/run.name"},
      {"run.seed", run(&C::seed), "Seed of the first weights and of the order of the data"},
      {"run.steps", run(&C::steps), "Optimiser steps to train", {.unit = "steps", .at_least = 1}},
      {"run.device",
       run(&C::device),
       "What computes: a CUDA GPU or the host; auto: a GPU where this build can use one",
       {.choices = {"auto", "cpu", "cuda"}}},
      {"run.precision",
       run(&C::precision),
       "Matrix products in float32, or of bfloat16 inputs with float32 sums; master weights stay float32",
       {.choices = {"fp32", "bf16"}}},
      {"run.threads",
       run(&C::threads),
       "Threads of one rank; auto: the cores of a host over its ranks",
       {.unit = "threads", .at_least = 1, .at_most = 4096, .zero = Zero::kAuto}},
      {"run.timeout_s",
       run(&C::timeout_s),
       "Longest wait of one rank for another; after it all ranks stop with a report",
       {.unit = "seconds", .above = 0}},
      {"run.memory_gib",
       run(&C::memory_gib),
       "Memory that the ranks of a host may use together; 0: what the machine has",
       {.unit = "GiB", .at_least = 0}},
      {"run.parity_probe", run(&C::parity_probe),
       "Before training: attention over the ranks against the same on one, for each kind of layer, on the first "
       "micro-batch's first 8192 tokens; takes memory of its own on one rank of each context group"},
  };
}

std::vector<Key> model_keys() {
  using C = ModelConfig;
  const auto model = [](auto member) { return at(&Config::model, member); };
  return {
      {"model.layers", model(&C::layers), "Decoder layers", {.at_least = 1}},
      {"model.hidden", model(&C::hidden), "Width of the residual stream", {.at_least = 1}},
      {"model.heads", model(&C::heads), "Query heads", {.at_least = 1}},
      {"model.kv_heads",
       model(&C::kv_heads),
       "Key and value heads, a divisor of model.heads; auto: model.heads",
       {.at_least = 1, .zero = Zero::kAuto}},
      {"model.head_dim",
       model(&C::head_dim),
       "Width of a head, even; auto: model.hidden / model.heads",
       {.at_least = 1, .zero = Zero::kAuto}},
      {"model.ffn", model(&C::ffn), "Inner width of the gated feed-forward block", {.at_least = 1}},
      {"model.vocab",
       model(&C::vocab),
       "Rows of the embedding; auto: what data.tokenizer has (259 for bytes)",
       {.unit = "tokens", .at_least = 1, .at_most = 2147483647, .zero = Zero::kAuto}},
      {"model.norm_eps", model(&C::norm_eps), "Added to the mean square in RMSNorm", {.above = 0}},
      {"model.init_std", model(&C::init_std), "Standard deviation of the first weights", {.above = 0}},
      {"model.tie_embeddings", model(&C::tie_embeddings), "The output layer shares the embedding's weights"},
      {"model.qk_norm", model(&C::qk_norm), "RMSNorm on each query and key head"},
      {"model.qkv_bias", model(&C::qkv_bias), "Query, key and value projections have a bias"},
      {"model.softmax_origin",
       ChosenPlace{[](const Config& c) { return static_cast<std::size_t>(c.model.softmax_origin); },
                   [](Config& c, std::size_t i) { c.model.softmax_origin = static_cast<SoftmaxOrigin>(i); }},
       "What probabilities that are rounded to bfloat16 are measured from: a row's maximum, where they can be exactly "
       "1 "
       "and their sums biased, or a little above it (below_one), where they cannot; on GPUs, with bf16",
       {.choices = {"maximum", "below_one"}}},
      {"model.recompute",
       ChosenPlace{[](const Config& c) { return static_cast<std::size_t>(c.model.recompute); },
                   [](Config& c, std::size_t i) { c.model.recompute = static_cast<Recompute>(i); }},
       "What backward computes again instead of keeping it: nothing (none), all of a layer but its input and its "
       "attention's output (selective), or all but its input, attention and its transfers too (full)",
       {.choices = {"none", "selective", "full"}}},
      {"model.recompute_layers",
       model(&C::recompute_layers),
       "How many layers of each pipeline stage, the first ones, model.recompute is for; the others keep everything; "
       "-1: "
       "all",
       {.at_least = -1}},
      {"model.offload",
       ChosenPlace{[](const Config& c) { return static_cast<std::size_t>(c.model.offload); },
                   [](Config& c, std::size_t i) { c.model.offload = static_cast<Offload>(i); }},
       "What waits for backward in the host's memory instead of the GPU's: nothing (none), or what layers keep that "
       "recompute, copied while other layers compute (activations; needs run.device cuda)",
       {.choices = {"none", "activations"}}},
      {"model.mlp_chunk",
       model(&C::mlp_chunk),
       "How many tokens the feed-forward block takes at a time, whose inner tensors then exist for no more (with "
       "recompute selective or full); 0: all",
       {.unit = "tokens", .at_least = 0}},
      {"model.rope.theta", model(&C::rope_theta), "Base of the rotary frequencies", {.above = 1}},
  };
}

std::vector<Key> rope_scaling_keys() {
  using C = RopeScaling;
  const auto scaling = [](auto member) {
    using T = std::remove_cvref_t<decltype(C{}.*member)>;
    return AnyPlace(as_place<T>([=](Config& config) -> T& { return config.model.rope_scaling.*member; }));
  };
  return {
      {"model.rope.scaling.kind",
       ChosenPlace{[](const Config& c) { return static_cast<std::size_t>(c.model.rope_scaling.kind); },
                   [](Config& c, std::size_t i) { c.model.rope_scaling.kind = static_cast<RopeScalingKind>(i); }},
       "How positions are stretched beyond the length a model was trained at",
       {.choices = {"none", "linear", "ntk", "yarn", "llama3"}}},
      {"model.rope.scaling.factor", scaling(&C::factor), "How many times longer", {.at_least = 1}},
      {"model.rope.scaling.original_length",
       scaling(&C::original_length),
       "Length before stretching (ntk, yarn, llama3)",
       {.unit = "tokens", .at_least = 1}},
      {"model.rope.scaling.low_freq_factor",
       scaling(&C::low_freq_factor),
       "Frequencies that turn less often than this over original_length are stretched fully (llama3)",
       {.unit = "turns", .above = 0}},
      {"model.rope.scaling.high_freq_factor",
       scaling(&C::high_freq_factor),
       "Frequencies that turn more often than this are left alone (llama3)",
       {.unit = "turns", .above = 0}},
      {"model.rope.scaling.beta_fast",
       scaling(&C::beta_fast),
       "Frequencies that turn more often than this are left alone (yarn)",
       {.unit = "turns", .above = 0}},
      {"model.rope.scaling.beta_slow",
       scaling(&C::beta_slow),
       "Frequencies that turn less often than this are stretched fully (yarn)",
       {.unit = "turns", .above = 0}},
      {"model.rope.scaling.attention_factor",
       scaling(&C::attention_factor),
       "Scale of rotated queries and keys (yarn); null: 0.1 ln(factor) + 1",
       {.above = 0}},
  };
}

// One map for all layers; model.pattern takes lists of maps with the same keys.
std::vector<Key> attention_keys() {
  using C = AttentionKind;
  const auto attention = [](auto member) {
    using T = std::remove_cvref_t<decltype(C{}.*member)>;
    return AnyPlace(as_place<T>([=](Config& config) -> T& { return config.model.pattern.front().*member; }));
  };
  return {
      {"model.attention.kind",
       attention(&C::kind),
       "Operator of every layer's attention; model.pattern instead for layers of several kinds",
       {.choices = names_of(layer_kinds())}},
      {"model.attention.causal", attention(&C::causal), "A token sees nothing that comes after it"},
      {"model.attention.window",
       attention(&C::window),
       "Newest keys that a token sees, its own included; 0: all; needs causal: true",
       {.unit = "tokens", .at_least = 0}},
      {"model.attention.scale",
       attention(&C::scale),
       "Factor of the scores; null: 1/sqrt(model.head_dim)",
       {.above = 0}},
      {"model.attention.sink", attention(&C::sink), "One learned logit a head in the softmax's denominator"},
      {"model.pattern", at(&Config::model, &ModelConfig::pattern),
       "Maps with the keys of model.attention, one a layer, repeated over depth; instead of model.attention"},
  };
}

std::vector<Key> data_keys() {
  using C = DataConfig;
  const auto data = [](auto member) { return at(&Config::data, member); };
  return {
      {"data.train", data(&C::train), "Token files (see `longspan data tokenize`), or synthetic:passkey"},
      {"data.weights",
       data(&C::weights),
       "Share of the sequences from each of data.train; empty: by size",
       {.above = 0}},
      {"data.validation", data(&C::validation), "Token files of the validation loss"},
      {"data.tokenizer", data(&C::tokenizer), "bytes, or the path of a SentencePiece model"},
      {"data.sequence_length",
       data(&C::sequence_length),
       "Length of one training sequence",
       {.unit = "tokens", .at_least = 1, .at_most = 2147483647}},
      {"data.global_batch",
       data(&C::global_batch),
       "Sequences of one step over all ranks",
       {.unit = "sequences", .at_least = 1}},
      {"data.packing",
       data(&C::packing),
       "concat: documents laid end to end and cut; documents: whole documents together as long as they fit; balanced: "
       "the same, and those of a step arranged so that all data ranks and micro-batches have as much work",
       {.choices = {"concat", "documents", "balanced"}}},
      {"data.balance_tokens",
       data(&C::balance_tokens),
       "Most tokens of a micro-batch that balanced packing makes, in those of its sequences were they full; more even "
       "out better and take more memory",
       {.at_least = 1, .at_most = 64}},
      {"data.validate_every",
       data(&C::validate_every),
       "Steps between two validations; 0: after the last step only",
       {.unit = "steps", .at_least = 0}},
      {"data.validation_sequences",
       data(&C::validation_sequences),
       "Sequences of one validation",
       {.unit = "sequences", .at_least = 1, .at_most = 1000000000}},
  };
}

std::vector<Key> optimizer_keys() {
  using C = OptimizerConfig;
  const auto optimizer = [](auto member) { return at(&Config::optimizer, member); };
  return {
      {"optimizer.name", optimizer(&C::name), "Rule of the update", {.choices = {"adamw"}}},
      {"optimizer.lr", optimizer(&C::lr), "Highest learning rate", {.at_least = 0}},
      {"optimizer.min_lr_ratio",
       optimizer(&C::min_lr_ratio),
       "Learning rate of the last step as a share of optimizer.lr",
       {.at_least = 0, .at_most = 1}},
      {"optimizer.schedule",
       optimizer(&C::schedule),
       "Course of the learning rate after warm-up; wsd: constant, then falling over the last steps",
       {.choices = {"constant", "linear", "cosine", "wsd"}}},
      {"optimizer.warmup_steps",
       optimizer(&C::warmup_steps),
       "Steps over which the learning rate rises from 0",
       {.unit = "steps", .at_least = 0}},
      {"optimizer.decay_fraction",
       optimizer(&C::decay_fraction),
       "Share of the steps over which wsd falls",
       {.at_least = 0, .at_most = 1}},
      {"optimizer.beta1", optimizer(&C::beta1), "Decay of the gradients' mean", {.at_least = 0, .below = 1}},
      {"optimizer.beta2", optimizer(&C::beta2), "Decay of their squares' mean", {.at_least = 0, .below = 1}},
      {"optimizer.eps", optimizer(&C::eps), "Added to the update's denominator", {.above = 0}},
      {"optimizer.weight_decay", optimizer(&C::weight_decay), "Decoupled decay of matrices", {.at_least = 0}},
      {"optimizer.clip_norm",
       optimizer(&C::clip_norm),
       "Largest norm of the whole gradient; 0: no clipping",
       {.at_least = 0}},
  };
}

std::vector<Key> parallel_keys() {
  using C = ParallelConfig;
  const auto parallel = [](auto member) { return at(&Config::parallel, member); };
  return {
      {"parallel.data",
       parallel(&C::data),
       "Groups of ranks with different sequences; divides data.global_batch",
       {.at_least = 1, .at_most = 1048576}},
      {"parallel.pipeline",
       parallel(&C::pipeline),
       "Ranks that the model's depth is cut over, each with its own layers",
       {.unit = "ranks", .at_least = 1, .at_most = 1024}},
      {"parallel.schedule", parallel(&C::schedule),
       fmt::format("Order in which the ranks of a pipeline work through their micro-batches: one of {}, or a schedule "
                   "file that ends with .csv",
                   fmt::join(names_of(pipeline_planners()), ", "))},
      {"parallel.chunks",
       parallel(&C::chunks),
       "Stages of one rank of a pipeline; auto: as the schedule is usually run",
       {.at_least = 1, .at_most = 64, .zero = Zero::kAuto}},
      {"parallel.stages",
       parallel(&C::stages),
       "Layers of each stage of the pipeline in order of depth; empty: even by FLOPs, the head's among them",
       {.unit = "layers", .at_least = 1}},
      {"parallel.zero",
       parallel(&C::zero),
       "1: ranks with the same weights each keep and update one share of the optimizer's state and float32 masters; 0: "
       "all of it",
       {.at_least = 0, .at_most = 1}},
      {"parallel.bucket_mib",
       parallel(&C::bucket_mib),
       "Gradients that are reduced together over the ranks with the same weights, while backward goes on",
       {.unit = "MiB", .at_least = 0.001, .at_most = 1048576}},
      {"parallel.context",
       parallel(&C::context),
       "Ranks that share each sequence; auto: all ranks / (parallel.pipeline x parallel.data)",
       {.unit = "ranks", .at_least = 1, .at_most = 1048576, .zero = Zero::kAuto}},
      {"parallel.context_scheme",
       parallel(&C::context_scheme),
       "How a sequence is spread over its ranks",
       {.choices = context_schemes()}},
      {"parallel.ranks_per_node",
       parallel(&C::ranks_per_node),
       "Ranks that share fast links, for schemes that mind; auto: those of a host, all where nothing is started",
       {.unit = "ranks", .at_least = 1, .zero = Zero::kAuto}},
      {"parallel.comm_sms",
       parallel(&C::comm_sms),
       "Multiprocessors of a GPU that attention leaves to transfers between ranks",
       {.unit = "multiprocessors", .at_least = 0, .at_most = 1024}},
      {"parallel.compress_keys",
       parallel(&C::compress_keys),
       "How keys and values are written to travel between the ranks of a context group; bf16 and int8 (a byte a number "
       "and "
       "a scale a token and head) round them",
       {.choices = {"none", "bf16", "int8"}}},
      {"parallel.compress_gradients",
       parallel(&C::compress_gradients),
       "The same for the gradients of keys and values, which are float32 and are rounded once a hop",
       {.choices = {"none", "bf16", "int8"}}},
      {"parallel.micro_batches",
       parallel(&C::micro_batches),
       "Parts into which each data rank's sequences of a step are cut; auto: one sequence each",
       {.at_least = 1, .zero = Zero::kAuto}},
  };
}

std::vector<Key> checkpoint_and_log_keys() {
  using C = CheckpointConfig;
  const auto checkpoint = [](auto member) { return at(&Config::checkpoint, member); };
  const auto log = [](auto member) { return at(&Config::log, member); };
  return {
      {"checkpoint.dir", checkpoint(&C::dir), "Folder of checkpoints; empty: run.dir/run.name/checkpoints"},
      {"checkpoint.every",
       checkpoint(&C::every),
       "Steps between two checkpoints; 0: after the last step and on a signal only",
       {.unit = "steps", .at_least = 0}},
      {"checkpoint.keep", checkpoint(&C::keep), "Newest checkpoints kept; 0: all", {.at_least = 0}},
      {"checkpoint.async", checkpoint(&C::async), "Training goes on while a checkpoint is written"},
      {"checkpoint.resume", checkpoint(&C::resume), "Begin at the newest whole checkpoint where there is one"},
      {"log.every", log(&LogConfig::every), "Steps between two lines of the log", {.unit = "steps", .at_least = 1}},
      {"log.ops", log(&LogConfig::ops), "Tell which implementation of each operator runs, and why others do not"},
  };
}

std::vector<Key> make_table() {
  std::vector<Key> table;
  for (auto part : {run_keys(), model_keys(), rope_scaling_keys(), attention_keys(), data_keys(), optimizer_keys(),
                    parallel_keys(), checkpoint_and_log_keys()}) {
    std::move(part.begin(), part.end(), std::back_inserter(table));
  }
  return table;
}

std::vector<std::string> make_sections() {
  std::vector<std::string> sections;
  for (const Key& key : key_table()) {
    for (std::size_t dot = key.path.find('.'); dot != std::string::npos; dot = key.path.find('.', dot + 1)) {
      const std::string section = key.path.substr(0, dot);
      if (std::find(sections.begin(), sections.end(), section) == sections.end()) sections.push_back(section);
    }
  }
  return sections;
}

}  // namespace

std::span<const Key> key_table() {
  static const std::vector<Key> table = make_table();
  return table;
}

std::span<const std::string> key_sections() {
  static const std::vector<std::string> sections = make_sections();
  return sections;
}

const Key* find_key(const std::string& path) {
  const auto table = key_table();
  const auto found = std::find_if(table.begin(), table.end(), [&](const Key& key) { return key.path == path; });
  return found == table.end() ? nullptr : &*found;
}

bool is_section(const std::string& path) {
  const auto sections = key_sections();
  return std::find(sections.begin(), sections.end(), path) != sections.end();
}

Config unresolved_config() {
  Config config;
  config.model.kv_heads = 0;
  config.model.head_dim = 0;
  config.model.vocab = 0;
  return config;
}

}  // namespace longspan
