#include "trainer/config/relations.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <numeric>

#include "kernels/core/error.h"
#include "parallel/pipeline/schedule_planner.h"
#include "trainer/data/passkey.h"
#include "trainer/data/tokenizer.h"

namespace longspan {
namespace {

class Relations {
 public:
  Relations(const GivenKeys& given, Faults& faults) : given_(given), faults_(faults) {}

  bool all_right(std::initializer_list<const char*> keys) const {
    return std::none_of(keys.begin(), keys.end(), [&](const char* key) { return given_.wrong.count(key) > 0; });
  }
  // Reported at the first of the keys; told once only where none of them is wrong by itself.
  void require(bool holds, std::initializer_list<const char*> keys, const std::string& what) {
    if (holds || !all_right(keys)) return;
    for (const char* key : keys) {
      const auto found = given_.origins.find(key);
      if (found == given_.origins.end()) continue;
      const std::string other = key == *keys.begin() ? "" : fmt::format("with it, {}: ", *keys.begin());
      return faults_.add(found->second, other + what);
    }
    faults_.add({given_.file + ": " + *keys.begin(), 0}, what);
  }

 private:
  const GivenKeys& given_;
  Faults& faults_;
};

void resolve_model(ModelConfig& model, Relations& relations) {
  if (model.kv_heads == 0) model.kv_heads = model.heads;
  relations.require(model.heads % model.kv_heads == 0, {"model.kv_heads", "model.heads"},
                    fmt::format("{} does not divide model.heads, {}", model.kv_heads, model.heads));
  const bool divides = model.head_dim != 0 || model.hidden % model.heads == 0;
  relations.require(divides, {"model.hidden", "model.heads"},
                    fmt::format("{} is not a multiple of model.heads, {}; change one or give model.head_dim",
                                model.hidden, model.heads));
  if (model.head_dim == 0) model.head_dim = model.hidden / model.heads;
  relations.require(!divides || model.head_dim % 2 == 0, {"model.head_dim", "model.hidden", "model.heads"},
                    fmt::format("{} is odd, but rotary positions turn pairs", model.head_dim));
}

void check_rope(const ModelConfig& model, Relations& relations) {
  const RopeScaling& scaling = model.rope_scaling;
  if (scaling.kind == RopeScalingKind::kLlama3) {
    relations.require(scaling.high_freq_factor > scaling.low_freq_factor,
                      {"model.rope.scaling.high_freq_factor", "model.rope.scaling.low_freq_factor"},
                      fmt::format("{} must be above model.rope.scaling.low_freq_factor, {}", scaling.high_freq_factor,
                                  scaling.low_freq_factor));
  }
  if (scaling.kind == RopeScalingKind::kYarn) {
    relations.require(
        scaling.beta_fast >= scaling.beta_slow, {"model.rope.scaling.beta_fast", "model.rope.scaling.beta_slow"},
        fmt::format("{} must be at least model.rope.scaling.beta_slow, {}", scaling.beta_fast, scaling.beta_slow));
  }
  if (scaling.kind == RopeScalingKind::kNtk) {
    relations.require(model.head_dim > 2, {"model.head_dim", "model.rope.scaling.kind"}, "ntk needs more than 2");
  }
}

void check_attention(const ModelConfig& model, Relations& relations) {
  for (std::size_t i = 0; i < model.pattern.size(); ++i) {
    const AttentionKind& attention = model.pattern[i];
    if (attention.window == 0 || attention.causal) continue;
    const std::string what = fmt::format("{} needs causal: true", attention.window);
    if (model.pattern.size() == 1) {
      relations.require(false, {"model.attention.window", "model.pattern"}, what);
    } else {
      relations.require(false, {"model.pattern"}, fmt::format("map {}: window: {}", i, what));
    }
  }
}

void resolve_vocabulary(Config& config, Relations& relations) {
  if (!relations.all_right({"data.tokenizer", "model.vocab"})) return;
  if (config.model.vocab == 0) {
    try {
      config.model.vocab = make_tokenizer(config.data.tokenizer)->vocab_size();
    } catch (const Error& error) {
      relations.require(false, {"data.tokenizer"}, error.what());
    }
  } else if (config.data.tokenizer == "bytes") {
    const std::int64_t size = make_tokenizer("bytes")->vocab_size();
    relations.require(config.model.vocab >= size, {"model.vocab", "data.tokenizer"},
                      fmt::format("{} is too small for data.tokenizer bytes, which has {}", config.model.vocab, size));
  }
}

void check_data(const DataConfig& data, Relations& relations) {
  relations.require(data.weights.empty() || data.weights.size() == data.train.size(), {"data.weights", "data.train"},
                    fmt::format("{} weights for {} sources in data.train", data.weights.size(), data.train.size()));
  for (const auto* sources : {&data.train, &data.validation}) {
    const char* key = sources == &data.train ? "data.train" : "data.validation";
    for (const std::string& source : *sources) {
      const bool synthetic = source.rfind("synthetic:", 0) == 0;
      relations.require(!source.empty(), {key}, "a source is empty text");
      relations.require(!synthetic || source == kPasskeySource, {key},
                        fmt::format("there is no {}; there is {}", source, kPasskeySource));
      relations.require(source != kPasskeySource || data.tokenizer == "bytes", {key, "data.tokenizer"},
                        fmt::format("{} needs data.tokenizer: bytes", source));
    }
  }
}

void check_parallel(const Config& config, Relations& relations) {
  const std::int64_t batch = config.data.global_batch, ranks = config.parallel.data;
  const std::int64_t parts = config.parallel.micro_batches;
  relations.require(batch % ranks == 0, {"data.global_batch", "parallel.data"},
                    fmt::format("{} is not a multiple of parallel.data, {}", batch, ranks));
  relations.require(
      parts == 0 || batch % ranks != 0 || batch / ranks % parts == 0,
      {"parallel.micro_batches", "data.global_batch", "parallel.data"},
      fmt::format("{} does not divide the {} sequences of a data rank (data.global_batch / parallel.data)", parts,
                  batch / ranks));
}

void check_pipeline(const Config& config, Relations& relations) {
  const ParallelConfig& parallel = config.parallel;
  std::vector<std::string_view> names;
  for (const PipelinePlanner* planner : pipeline_planners()) names.push_back(planner->name());
  const bool known = std::find(names.begin(), names.end(), parallel.schedule) != names.end();
  relations.require(known || parallel.schedule.ends_with(".csv"), {"parallel.schedule"},
                    fmt::format("expected one of {}, or a file that ends with .csv, not '{}'", fmt::join(names, ", "),
                                parallel.schedule));
  const std::int64_t layers = std::accumulate(parallel.stages.begin(), parallel.stages.end(), std::int64_t{0});
  relations.require(
      parallel.stages.empty() || layers == config.model.layers, {"parallel.stages", "model.layers"},
      fmt::format("the stages have {} layers together, but model.layers is {}", layers, config.model.layers));
}

void check_offload(const Config& config, Relations& relations) {
  if (config.model.offload == Offload::kNone) return;
  relations.require(config.run.device != "cpu", {"model.offload", "run.device"},
                    "activations moves them from a GPU's memory to the host's, and run.device is cpu");
  relations.require(config.model.recompute != Recompute::kNone && config.model.recompute_layers == -1,
                    {"model.offload", "model.recompute", "model.recompute_layers"},
                    "activations needs model.recompute: selective or full, of all layers; what else layers keep would "
                    "stay on the GPU");
}

void check_comm_sms(const Config& config, Relations& relations) {
  relations.require(config.parallel.comm_sms == 0 || config.run.device != "cpu", {"parallel.comm_sms", "run.device"},
                    fmt::format("{} multiprocessors are a GPU's, and run.device is cpu", config.parallel.comm_sms));
}

void check_recompute(const ModelConfig& model, Relations& relations) {
  const bool recomputes = model.recompute != Recompute::kNone;
  relations.require(model.recompute_layers == -1 || recomputes, {"model.recompute_layers", "model.recompute"},
                    fmt::format("{} needs model.recompute: selective or full", model.recompute_layers));
  relations.require(model.mlp_chunk == 0 || recomputes, {"model.mlp_chunk", "model.recompute"},
                    fmt::format("{} needs model.recompute: selective or full; else each chunk's tensors would be kept "
                                "all the same",
                                model.mlp_chunk));
}

void check_run(const RunConfig& run, Relations& relations) {
  relations.require(!run.dir.empty(), {"run.dir"}, "a folder is needed; '.' is this one");
  relations.require(!run.name.empty() && run.name != "." && run.name != ".." && run.name.find('/') == std::string::npos,
                    {"run.name"}, fmt::format("'{}' cannot be the name of one folder", run.name));
}

}  // namespace

void resolve_relations(Config& config, const GivenKeys& given, Faults& faults) {
  Relations relations(given, faults);
  check_run(config.run, relations);
  resolve_model(config.model, relations);
  check_rope(config.model, relations);
  check_attention(config.model, relations);
  resolve_vocabulary(config, relations);
  check_data(config.data, relations);
  check_parallel(config, relations);
  check_pipeline(config, relations);
  check_offload(config, relations);
  check_comm_sms(config, relations);
  check_recompute(config.model, relations);
}

}  // namespace longspan
