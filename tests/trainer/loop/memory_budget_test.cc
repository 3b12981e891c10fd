// The memory that is predicted before the first step against what the arenas saw, and the longest length that fits.
#include "trainer/loop/memory_budget.h"

#include <gtest/gtest.h>

#include "trainer/loop/learner.h"
#include "trainer/loop/run_plan.h"

namespace longspan {
namespace {

Config small_config() {
  Config config;
  config.model.layers = 3;
  config.model.hidden = 48;
  config.model.kv_heads = 2;
  config.model.head_dim = 12;
  config.model.pattern.resize(2);
  config.model.pattern[1].window = 50;
  config.data.train = {"synthetic:passkey"};
  config.data.sequence_length = 500;
  config.data.global_batch = 4;
  return config;
}

// Peak of a rank's arenas over one step.
std::vector<std::int64_t> measured_peaks(const Config& config, int ranks) {
  std::vector<std::int64_t> peaks(static_cast<std::size_t>(ranks));
  run_local_ranks(ranks, {}, [&](Communicator& world) {
    const RunPlan plan = make_run_plan(config, world.size(), world.rank(), 1);
    Mesh mesh(world, plan.layout.mesh);
    const auto loader = make_training_loader(config.data, config.model.vocab, config.run.seed);
    const RankDevice device;
    Learner learner(config, plan, mesh, device);
    StepPlan step = plan_step(*loader, config.model, plan.place(config), plan.sequences_at(0));
    learner.train(step, 1, 1e-3);
    peaks[static_cast<std::size_t>(world.rank())] = learner.peak_bytes();
  });
  return peaks;
}

// bf16 products may block their operands: the prediction leaves this room for each thread, used or not.
constexpr std::int64_t kProductRoom = std::int64_t{4} << 20;

void expect_prediction_holds(const Config& config, int ranks) {
  const std::vector<std::int64_t> peaks = measured_peaks(config, ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    const MemoryBudget budget = make_run_plan(config, ranks, rank, 1).budget;
    const std::int64_t predicted = budget.total() - budget.snapshot;
    EXPECT_LE(peaks[static_cast<std::size_t>(rank)], predicted + 4096) << rank << ": " << describe(budget);
    const std::int64_t used = predicted - (config.run.precision == "bf16" ? kProductRoom : 0);
    EXPECT_GE(peaks[static_cast<std::size_t>(rank)], used * 9 / 10) << rank << ": " << describe(budget);
  }
}

TEST(MemoryBudget, HoldsForEveryLayout) {
  for (const char* scheme : {"ring", "striped"})
    for (const int ranks : {1, 2, 3}) {
      Config config = small_config();
      config.parallel.context_scheme = scheme;
      expect_prediction_holds(config, ranks);
    }
}

TEST(MemoryBudget, HoldsForPrecisionRecomputationAndMicroBatches) {
  Config config = small_config();
  config.run.precision = "bf16";
  expect_prediction_holds(config, 2);
  config.model.recompute = Recompute::kSelective;
  expect_prediction_holds(config, 2);
  config.parallel.micro_batches = 2;
  expect_prediction_holds(config, 1);
}

TEST(MemoryBudget, HoldsForEveryStageOfAPipeline) {
  for (const char* schedule : {"gpipe", "1f1b", "interleaved", "zero_bubble", "zbv"})
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      SCOPED_TRACE(schedule);
      Config config = small_config();
      config.model.layers = 4;
      config.model.recompute = recompute;
      config.parallel.pipeline = 2;
      config.parallel.schedule = schedule;
      config.parallel.bucket_mib = 0.05;
      expect_prediction_holds(config, 2);
      config.parallel.data = 2;
      expect_prediction_holds(config, 4);
    }
}

TEST(MemoryBudget, TheLongestSequenceFitsAndALongerDoesNot) {
  Config config = small_config();
  config.data.sequence_length = 1 << 16;
  const HostRanks host{.layout = resolve_layout(config, 2), .ranks = {0, 1}, .num_threads = 1};
  const std::int64_t have = std::int64_t{48} << 20;
  const std::int64_t longest = longest_sequence_that_fits(config, host, have);
  ASSERT_GT(longest, 0);
  config.data.sequence_length = longest;
  EXPECT_LE(total_bytes(predict_memory(config, host)), have);
  config.data.sequence_length = longest + 64;
  EXPECT_GT(total_bytes(predict_memory(config, host)), have);
  config.data.sequence_length = 1 << 16;
  EXPECT_EQ(longest_sequence_that_fits(config, host, 1000), 0);
}

TEST(MemoryBudget, KnowsTheHostAndTheProcess) {
  EXPECT_GT(host_memory_bytes(), process_peak_bytes());
  EXPECT_GT(process_peak_bytes(), 1 << 20);
}

}  // namespace
}  // namespace longspan
