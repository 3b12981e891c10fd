// Config: an experiment as plain values. The key table in key_table.cc fills it from YAML and --a.b=value overrides.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/model_config.h"

namespace longspan {

struct RunConfig {
  std::string dir = "runs", name = "default";
  std::uint64_t seed = 1;
  std::int64_t steps = 1000;
  std::string device = "auto";     // auto | cpu | cuda
  std::string precision = "fp32";  // fp32 | bf16
  std::int64_t threads = 0;        // OpenMP threads a rank; 0: cores / ranks on this host
  double timeout_s = 600;          // deadline of a wait between ranks
  double memory_gib = 0;           // budget a host; 0: what the machine has
  bool parity_probe = false;       // before training: attention over the ranks against the same on one
};

struct DataConfig {
  std::vector<std::string> train;  // token files, or "synthetic:passkey"
  std::vector<double> weights;     // one a train source; empty: by size
  std::vector<std::string> validation;
  std::string tokenizer = "bytes";  // bytes | path of a SentencePiece model
  std::int64_t sequence_length = 1024;
  std::int64_t global_batch = 1;    // sequences a step over all ranks
  std::string packing = "concat";   // concat | documents | balanced
  double balance_tokens = 1.25;     // balanced: most tokens of a micro-batch, in those of its full sequences
  std::int64_t validate_every = 0;  // steps; 0: only after the last step (where there is validation data)
  std::int64_t validation_sequences = 8;
};

struct OptimizerConfig {
  std::string name = "adamw";
  double lr = 3e-4, min_lr_ratio = 0.1;
  std::string schedule = "cosine";  // constant | linear | cosine | wsd
  std::int64_t warmup_steps = 100;
  double decay_fraction = 0.2;  // wsd: last share of the steps
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.1, clip_norm = 1.0;
};

struct ParallelConfig {
  std::int64_t data = 1;
  std::int64_t context = 0;  // 0 ("auto"): ranks / (pipeline * data)
  std::int64_t pipeline = 1;
  std::string schedule = "1f1b";     // a planner's name, or a schedule file that ends with .csv
  std::int64_t chunks = 0;           // stages a rank; 0 ("auto"): the fewest that the schedule takes
  std::vector<std::int64_t> stages;  // layers of each stage in order of depth; empty: balanced by cost
  std::int64_t zero = 0;             // 1: optimizer state and fp32 masters in shards
  double bucket_mib = 25;            // of gradients that are reduced together
  std::string context_scheme = "striped";
  std::int64_t ranks_per_node = 0;  // 0 ("auto"): as the launcher placed them
  std::int64_t comm_sms = 0;        // multiprocessors of a GPU that attention leaves to transfers
  std::string compress_keys = "none", compress_gradients = "none";  // none, bf16, int8
  std::int64_t micro_batches = 0;  // 0 ("auto"): one sequence each; divides global_batch / data
};

struct CheckpointConfig {
  std::string dir;         // empty: RUN/checkpoints
  std::int64_t every = 0;  // steps; 0: only after the last step and on a signal
  std::int64_t keep = 2;   // newest whole ones kept; 0: all
  bool async = true;
  bool resume = true;
};

struct LogConfig {
  std::int64_t every = 1;
  bool ops = false;
};

struct Config {
  RunConfig run;
  ModelConfig model;
  DataConfig data;
  OptimizerConfig optimizer;
  ParallelConfig parallel;
  CheckpointConfig checkpoint;
  LogConfig log;
  std::string run_folder() const { return run.dir + "/" + run.name; }
  std::string checkpoint_folder() const {
    return checkpoint.dir.empty() ? run_folder() + "/checkpoints" : checkpoint.dir;
  }
};

// "--a.b=value" as (a.b, value).
using Override = std::pair<std::string, std::string>;

// Reads, overrides, checks. Throws Error(kUsage) whose message holds every fault at once, each with file, line, key,
// what was expected and the nearest valid key.
Config load_config(const std::string& path, const std::vector<Override>& overrides);
Config parse_config(const std::string& yaml, const std::string& file_name, const std::vector<Override>& overrides);
// The resolved config, defaults included: a valid config that parses to the same values.
std::string to_yaml(const Config& config);
// Every key with type, default, unit and meaning; as text and as Markdown (docs/config.md).
std::string config_schema_text();
std::string config_schema_markdown();

}  // namespace longspan
