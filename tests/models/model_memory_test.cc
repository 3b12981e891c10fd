// The memory that is predicted before a run is, to the byte, what the run takes.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/models/model_runs.h"

namespace longspan::test {
namespace {

std::vector<ModelConfig> configs() {
  std::vector<ModelConfig> all;
  for (const bool rich : {false, true})
    for (const std::int64_t layers : {1, 3})
      for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull})
        for (const std::int64_t vocab : {13, 700}) {
          ModelConfig config = tiny_config();
          config.layers = layers;
          config.recompute = recompute;
          config.vocab = vocab;
          config.tie_embeddings = rich;
          if (rich) {
            config.qk_norm = config.qkv_bias = true;
            config.kv_heads = 1;
            config.hidden = 24;
            config.ffn = 5;
            config.pattern[0].sink = true;
          }
          all.push_back(config);
          if (recompute == Recompute::kNone) continue;
          config.offload = Offload::kActivations;
          all.push_back(config);
          config.mlp_chunk = 4;
          all.push_back(config);
          config.offload = Offload::kNone;
          config.recompute_layers = 1;
          all.push_back(config);
        }
  return all;
}

TEST(ActivationBytes, AreThePeakOfTheArenaOnEveryRank) {
  for (const ModelConfig& config : configs())
    for (const DType precision : {DType::kF32, DType::kBF16})
      for (const std::int64_t length : {1, 5, 43}) {
        const PackedTokens batch = packed_tokens({0, length}, config.vocab);
        const RunResult run = run_model(config, test_weights(config, 1), batch,
                                        {.ranks = 3, .scheme = "striped", .precision = precision});
        for (std::size_t r = 0; r < 3; ++r)
          EXPECT_EQ(run.activation_peaks[r], activation_bytes(config, precision, run.tokens_of_rank[r]))
              << config.layers << " layers, " << run.tokens_of_rank[r] << " tokens on rank " << r;
      }
}

TEST(ActivationBytes, RecomputingTakesLess) {
  ModelConfig config = tiny_config();
  config.layers = 12;
  const std::int64_t all = activation_bytes(config, DType::kBF16, 1000);
  config.recompute = Recompute::kSelective;
  const std::int64_t selective = activation_bytes(config, DType::kBF16, 1000);
  EXPECT_LT(selective, all / 2);
  config.recompute_layers = 6;
  const std::int64_t some = activation_bytes(config, DType::kBF16, 1000);
  EXPECT_LT(selective, some);
  EXPECT_LT(some, all);
  config.recompute_layers = -1;
  config.recompute = Recompute::kFull;
  EXPECT_LT(activation_bytes(config, DType::kBF16, 1000), selective / 5 * 3);
}

TEST(ActivationBytes, OfAWideMlpInChunksDoNotGrowWithTheTokens) {
  ModelConfig config = tiny_config();
  config.recompute = Recompute::kSelective;
  const auto each_token = [&] {
    return activation_bytes(config, DType::kBF16, 4096) - activation_bytes(config, DType::kBF16, 3072);
  };
  config.mlp_chunk = 1024;
  const std::int64_t narrow = each_token();
  config.ffn *= 100;
  EXPECT_LE(each_token(), narrow);
  config.mlp_chunk = 0;
  EXPECT_GT(each_token(), 10 * narrow);
}

// The attention's own scratch is not at hand while other operators run, so the larger of the two decides.
TEST(ModelWorkspaceBytes, HoldWhatTheOperatorsTake) {
  for (const ModelConfig& config : configs())
    for (const DType precision : {DType::kF32, DType::kBF16})
      for (const std::int64_t length : {1, 43}) {
        const PackedTokens batch = packed_tokens({0, length}, config.vocab);
        const RunResult run = run_model(config, test_weights(config, 1), batch, {.precision = precision});
        EXPECT_LE(run.workspace_peaks[0], std::max(model_workspace_bytes(config, Device::kCpu, precision, length, 1),
                                                   run.attention_workspaces[0]));
      }
}

TEST(ModelWorkspaceBytes, OfAStageWithoutTheHeadLeaveTheLogitsOut) {
  ModelConfig config = tiny_config();
  config.vocab = 100'000;
  const StageSpan whole = whole_model(config), front{0, 1, true, false}, back{1, 2, false, true};
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    const auto bytes = [&](const StageSpan& stage) {
      return model_workspace_bytes(config, {&stage, 1}, device, DType::kBF16, 600, 1);
    };
    EXPECT_EQ(bytes(whole), model_workspace_bytes(config, device, DType::kBF16, 600, 1));
    EXPECT_EQ(bytes(back), bytes(whole));
    EXPECT_LT(bytes(front), 512 * config.vocab * size_of(DType::kF32));
  }
}

TEST(ModelWorkspaceBytes, AreExactWhereTheLogitsOfAChunkDecide) {
  ModelConfig config = tiny_config();
  config.layers = 1;
  config.vocab = 3000;
  for (const std::int64_t length : {40, 512, 600}) {
    const PackedTokens batch = packed_tokens({0, length}, config.vocab);
    const RunResult run = run_model(config, test_weights(config, 1), batch, {});
    EXPECT_GT(run.workspace_peaks[0], run.attention_workspaces[0]);
    EXPECT_EQ(run.workspace_peaks[0], model_workspace_bytes(config, Device::kCpu, DType::kF32, length, 1));
  }
}

}  // namespace
}  // namespace longspan::test
