// Which stages and schedule a config gets on so many ranks, and what is said when it cannot have them.
#include "trainer/loop/parallel_layout.h"

#include <gtest/gtest.h>

#include <fstream>

#include "kernels/core/error.h"

namespace longspan {
namespace {

Config config_of(std::int64_t layers, std::int64_t batch) {
  Config config;
  config.model.layers = layers;
  config.data.global_batch = batch;
  return config;
}

std::string refusal(const Config& config, int world) {
  try {
    resolve_layout(config, world);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::vector<std::int64_t> layers_of(const std::vector<StageSpan>& stages) {
  std::vector<std::int64_t> layers;
  for (const StageSpan& stage : stages) layers.push_back(stage.layers());
  return layers;
}

TEST(ParallelLayout, OneRankHasTheWholeModel) {
  const Config config = config_of(3, 4);
  const ParallelLayout layout = resolve_layout(config, 1);
  EXPECT_EQ(layout.mesh, (MeshShape{1, 1, 1}));
  EXPECT_EQ(layout.micro_batches, 4);
  EXPECT_EQ(layout.stages, std::vector{whole_model(config.model)});
  EXPECT_EQ(layout.stages_of(0), layout.stages);
}

TEST(ParallelLayout, StagesFollowEachOtherAndTheHeadCounts) {
  Config config = config_of(8, 8);
  config.parallel.pipeline = 4;
  config.model.vocab = 8;
  EXPECT_EQ(layers_of(resolve_layout(config, 4).stages), (std::vector<std::int64_t>{2, 2, 2, 2}));
  config.model.vocab = 4000;  // the head costs several layers
  const ParallelLayout layout = resolve_layout(config, 8);
  EXPECT_EQ(layout.mesh, (MeshShape{4, 1, 2}));
  EXPECT_EQ(layers_of(layout.stages).back(), 1);
  std::int64_t next = 0;
  for (std::size_t s = 0; s < layout.stages.size(); ++s) {
    EXPECT_EQ(layout.stages[s].begin, next);
    EXPECT_EQ(layout.stages[s].embeds, s == 0);
    EXPECT_EQ(layout.stages[s].has_head, s == 3);
    next = layout.stages[s].end;
  }
  EXPECT_EQ(next, 8);
  config.parallel.stages = {1, 5, 1, 1};
  EXPECT_EQ(layers_of(resolve_layout(config, 4).stages), config.parallel.stages);
}

TEST(ParallelLayout, ChunksAreThoseOfTheSchedule) {
  Config config = config_of(8, 4);
  config.parallel.pipeline = 2;
  config.parallel.schedule = "zbv";
  const ParallelLayout folded = resolve_layout(config, 2);
  EXPECT_EQ(folded.stages.size(), 4U);
  EXPECT_TRUE(folded.stages_of(0).front().embeds && folded.stages_of(0).back().has_head);
  config.parallel.schedule = "interleaved";
  config.parallel.chunks = 4;
  const ParallelLayout looped = resolve_layout(config, 2);
  EXPECT_EQ(looped.stages.size(), 8U);
  EXPECT_EQ(looped.stages_of(1)[2], looped.stages[5]);
}

TEST(ParallelLayout, OneMessageNamesEveryFactorAndALayoutThatFits) {
  Config config = config_of(6, 4);
  config.parallel.pipeline = 4;
  config.parallel.data = 2;
  config.parallel.schedule = "interleaved";
  EXPECT_EQ(
      refusal(config, 8),
      "parallel.pipeline 4 x parallel.data 2 x parallel.context auto over 8 rank(s), schedule interleaved with 2 "
      "chunk(s) a rank, 6 layers, 4 sequences a step: parallel.pipeline 4 x 2 chunk(s) a rank = 8 stages, but the "
      "model has 6 layer(s); parallel.schedule interleaved needs micro-batches in groups of 4 (parallel.pipeline), "
      "not 2; use 4 of them, or 1f1b. What fits 8 rank(s): --parallel.pipeline=2 --parallel.data=2 "
      "--parallel.context=2");
  config.parallel.context = 3;
  const std::string wrong_product = refusal(config, 8);
  for (const char* part : {"= 24 ranks, but 8 were started", "8 stages, but the model has 6", "groups of 4",
                           "What fits 8 rank(s): --parallel.pipeline=2 --parallel.data=2 --parallel.context=2"})
    EXPECT_NE(wrong_product.find(part), std::string::npos) << part << " in: " << wrong_product;
}

TEST(ParallelLayout, WhatIsSuggestedIsAccepted) {
  for (const int world : {1, 2, 3, 4, 6, 8, 12})
    for (const char* schedule : {"1f1b", "gpipe", "interleaved", "zero_bubble", "zbv"})
      for (const std::int64_t layers : {1, 2, 5, 16}) {
        Config config = config_of(layers, 6);
        config.parallel = {.data = 3, .pipeline = 5, .schedule = schedule, .stages = {}};
        const std::string message = refusal(config, world);
        ASSERT_NE(message, "accepted");
        const auto take = [&](const std::string& key, std::int64_t& value) {
          const std::size_t at = message.find(" --parallel." + key + "=");
          if (at != std::string::npos) value = std::stoll(message.substr(at + key.size() + 13));
          return at != std::string::npos;
        };
        const bool suggests = take("pipeline", config.parallel.pipeline) && take("data", config.parallel.data) &&
                              take("context", config.parallel.context);
        EXPECT_EQ(suggests, message.find("No layout") == std::string::npos) << message;
        EXPECT_TRUE(!suggests || refusal(config, world) == "accepted") << message;
      }
}

TEST(ParallelLayout, StagesByHandMustBeAsManyAsThePipelineHas) {
  Config config = config_of(6, 4);
  config.parallel.pipeline = 2;
  config.parallel.stages = {2, 2, 2};
  EXPECT_NE(
      refusal(config, 2).find("parallel.stages gives 3 stages, but parallel.pipeline 2 x 1 chunk(s) a rank are 2"),
      std::string::npos);
}

TEST(ParallelLayout, AnOffloadNeedsBackwardsInOne) {
  Config config = config_of(4, 4);
  config.parallel.pipeline = 2;
  config.model.offload = Offload::kActivations;
  config.model.recompute = Recompute::kSelective;
  EXPECT_EQ(refusal(config, 2), "accepted");
  config.parallel.schedule = "zero_bubble";
  EXPECT_NE(refusal(config, 2).find("does it in halves; use 1f1b"), std::string::npos);
}

TEST(ParallelLayout, TakesAScheduleFromAFile) {
  const std::string path = testing::TempDir() + "/layout_schedule.csv";
  std::ofstream(path) << "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n";
  Config config = config_of(2, 2);
  config.parallel.pipeline = 2;
  config.parallel.schedule = path;
  EXPECT_EQ(resolve_layout(config, 2).schedule.ops[0].size(), 4U);
  config.data.global_batch = 3;
  EXPECT_NE(refusal(config, 2).find("is a schedule of 2 rank(s) x 1 chunk(s) over 2 micro-batches"), std::string::npos);
  config.parallel.schedule = testing::TempDir() + "/none.csv";
  EXPECT_NE(refusal(config, 2).find("cannot open it"), std::string::npos);
}

}  // namespace
}  // namespace longspan
