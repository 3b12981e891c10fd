#include "tests/models/model_runs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>

#include "models/random_normal.h"

namespace longspan::test {
namespace {

constexpr std::int64_t kArenaBytes = std::int64_t{1} << 30;  // address space only; pages come as they are written

}  // namespace

LocalTokens::LocalTokens(const PackedTokens& batch, const std::vector<TokenRun>& home) {
  std::vector<std::int32_t> place(batch.tokens.size());
  for (std::size_t d = 0; d + 1 < batch.cu_seqlens.size(); ++d)
    for (std::int64_t t = batch.cu_seqlens[d]; t < batch.cu_seqlens[d + 1]; ++t)
      place[static_cast<std::size_t>(t)] = static_cast<std::int32_t>(t - batch.cu_seqlens[d]);
  for (const TokenRun& run : home)
    for (std::int64_t i = 0; i < run.count; ++i) {
      const auto t = static_cast<std::size_t>(run.first + i * run.stride);
      tokens.push_back(batch.tokens[t]);
      labels.push_back(batch.labels[t]);
      positions.push_back(place[t]);
    }
}

MicroBatch LocalTokens::batch() {
  const auto view = [](std::vector<std::int32_t>& values) {
    return Tensor(values.data(), DType::kI32, {static_cast<std::int64_t>(values.size())});
  };
  return {view(tokens), view(labels), view(positions)};
}

ContextPlans plans_of(const ModelConfig& config, const PackedTokens& batch, const std::string& scheme, int ranks) {
  ContextPlans plans;
  for (const AttentionKind& kind : config.pattern) {
    const ContextProblem problem{.cu_seqlens = batch.cu_seqlens,
                                 .heads = config.heads,
                                 .kv_heads = config.kv_heads,
                                 .causal = kind.causal,
                                 .window = kind.window};
    plans.push_back(std::make_shared<const ContextPlan>(make_context_plan(scheme, problem, ranks)));
  }
  return plans;
}

Attentions::Attentions(const ModelConfig& config, const ContextPlans& plans, DType precision, Communicator& comm) {
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const float scale = config.pattern[i].scale.value_or(1 / std::sqrt(static_cast<float>(config.head_dim)));
    const AttentionDesc desc{.dtype = precision,
                             .heads = config.heads,
                             .kv_heads = config.kv_heads,
                             .head_dim = config.head_dim,
                             .value_dim = config.head_dim,
                             .scale = scale};
    attentions_.push_back(std::make_unique<ContextAttention>(plans[i], comm, desc));
    by_pattern_.push_back(attentions_.back().get());
  }
}

void set_weights(Model& model, const Exec& exec, const Weights<float>& weights) {
  for (Parameter& parameter : model.parameters()) {
    const std::vector<float>& values = weights.at(parameter.name);
    std::copy(values.begin(), values.end(), parameter.master.get<float>());
  }
  model.refresh_compute(exec);
}

ModelConfig tiny_config() {
  ModelConfig config;
  config.layers = 2;
  config.hidden = 6;
  config.heads = config.kv_heads = 4;
  config.head_dim = 4;
  config.ffn = 7;
  config.vocab = 11;
  config.init_std = 0.4;
  config.tie_embeddings = false;
  return config;
}

PackedTokens packed_tokens(std::vector<std::int64_t> cu_seqlens, std::int64_t vocab) {
  PackedTokens batch;
  batch.cu_seqlens = std::move(cu_seqlens);
  for (std::int64_t t = 0; t < batch.cu_seqlens.back(); ++t)
    batch.tokens.push_back(static_cast<std::int32_t>((t * t * 5 + t * 3 + 1) % vocab));
  batch.labels.assign(batch.tokens.size(), -1);
  for (std::size_t d = 0; d + 1 < batch.cu_seqlens.size(); ++d)
    for (std::int64_t t = batch.cu_seqlens[d]; t + 1 < batch.cu_seqlens[d + 1]; ++t)
      if (t % 7 != 3) batch.labels[static_cast<std::size_t>(t)] = batch.tokens[static_cast<std::size_t>(t + 1)];
  return batch;
}

std::int64_t count_labels(const PackedTokens& batch) {
  return std::count_if(batch.labels.begin(), batch.labels.end(), [](std::int32_t label) { return label >= 0; });
}

Weights<float> test_weights(const ModelConfig& config, std::uint64_t seed) {
  Arena arena("weights", kArenaBytes);
  Model model(config, DType::kF32, Gradients::kNone, arena);
  model.initialize(Exec{}, seed);
  Weights<float> weights;
  std::uint64_t key = seed;
  for (const Parameter& parameter : model.parameters()) {
    const float* values = parameter.master.get<float>();
    std::vector<float>& copy = weights[parameter.name];
    copy.assign(values, values + parameter.master.numel());
    if (parameter.shape.size() > 1) continue;
    std::vector<float> noise(copy.size());
    fill_normal(++key, 0.3, noise);
    for (std::size_t i = 0; i < copy.size(); ++i) copy[i] += noise[i];
  }
  return weights;
}

RunResult run_model(const ModelConfig& config, const Weights<float>& weights, const PackedTokens& batch,
                    const RunSetup& setup) {
  const auto plans = plans_of(config, batch, setup.scheme, setup.ranks);
  const std::int64_t labels = count_labels(batch);
  const float grad_scale = labels > 0 ? 1 / static_cast<float>(labels) : 0;
  RunResult result;
  for (auto* by_rank :
       {&result.tokens_of_rank, &result.activation_peaks, &result.workspace_peaks, &result.attention_workspaces})
    by_rank->resize(static_cast<std::size_t>(setup.ranks));
  std::mutex mutex;
  run_local_ranks(setup.ranks, {.timeout_ms = 60'000}, [&](Communicator& comm) {
    Arena weight_arena("weights", kArenaBytes), activations("activations", kArenaBytes),
        scratch("scratch", kArenaBytes);
    const Exec exec{.num_threads = setup.num_threads, .workspace = &scratch};
    Model model(config, setup.precision, Gradients::kKeep, weight_arena);
    set_weights(model, exec, weights);
    const Attentions attentions(config, plans, setup.precision, comm);
    const AttentionByPattern by_pattern = attentions.by_pattern();
    const auto rank = static_cast<std::size_t>(comm.rank());
    LocalTokens local(batch, plans[0]->home[rank]);

    std::vector<double> sums(4);
    const Tensor trained(sums.data(), DType::kF64, {2}), evaluated(sums.data() + 2, DType::kF64, {2});
    model.forward_backward(exec, local.batch(), by_pattern, grad_scale, trained, activations);
    const std::int64_t peak = activations.peak_bytes();
    model.evaluate(exec, local.batch(), by_pattern, evaluated, activations);
    EXPECT_EQ(activations.used_bytes(), 0);
    EXPECT_EQ(scratch.used_bytes(), 0);
    EXPECT_EQ(activations.peak_bytes(), peak) << "evaluate needs no more than forward_backward";

    comm.all_reduce(std::span<double>(sums), ReduceOp::kSum);
    comm.all_reduce(model.all_gradients(), ReduceOp::kSum);
    const std::lock_guard lock(mutex);
    result.tokens_of_rank[rank] = static_cast<std::int64_t>(local.tokens.size());
    result.activation_peaks[rank] = peak;
    result.workspace_peaks[rank] = scratch.peak_bytes();
    for (const ContextAttention* attention : by_pattern)
      result.attention_workspaces[rank] =
          std::max({result.attention_workspaces[rank], attention->forward_workspace_bytes(),
                    attention->backward_workspace_bytes()});
    if (rank != 0) return;
    result.loss = sums[0];
    result.num_tokens = static_cast<std::int64_t>(sums[1]);
    result.evaluated_loss = sums[2];
    for (const Parameter& parameter : model.parameters()) {
      const float* values = parameter.gradient.get<float>();
      result.gradients[parameter.name].assign(values, values + parameter.gradient.numel());
    }
  });
  return result;
}

namespace {

struct Squares {
  double difference = 0, expected = 0;
  void add(const std::vector<float>& got, const std::vector<double>& want) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      difference += (got[i] - want[i]) * (got[i] - want[i]);
      expected += want[i] * want[i];
    }
  }
  double relative() const { return expected > 0 ? std::sqrt(difference / expected) : std::sqrt(difference); }
};

}  // namespace

double relative_error(const std::vector<float>& got, const std::vector<double>& expected) {
  Squares squares;
  squares.add(got, expected);
  return squares.relative();
}

double relative_error(const Weights<float>& got, const Weights<double>& expected) {
  Squares squares;
  for (const auto& [name, values] : expected) squares.add(got.at(name), values);
  return squares.relative();
}

}  // namespace longspan::test
