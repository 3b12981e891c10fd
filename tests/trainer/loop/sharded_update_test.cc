// ZeRO: reduction to shards, an update of each and gathering leave every replica with the bits of a whole update.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>

#include "parallel/data/gradient_reducer.h"
#include "parallel/data/weight_gather.h"
#include "trainer/loop/optimizer.h"

namespace longspan {
namespace {

constexpr std::int64_t kSteps = 3;

ModelConfig small_config() {
  ModelConfig config;
  config.layers = 3;
  config.hidden = 24;
  config.heads = 40;  // of 40 sinks the fp32 copies fill three blocks of the flat tensors
  config.kv_heads = 4;
  config.head_dim = 4;
  config.ffn = 31;
  config.vocab = 37;
  config.pattern.resize(2);
  config.pattern[0].sink = true;
  return config;
}

// A replica's gradient in a step, of any size and sign.
void fill_gradients(Model& model, int rank, std::int64_t step) {
  std::mt19937 bits(static_cast<unsigned>(100 * step + rank));
  for (const Parameter& parameter : model.parameters())
    for (std::int64_t i = 0; i < parameter.gradient.numel(); ++i)
      parameter.gradient.get<float>()[i] =
          std::ldexp(static_cast<float>(bits() >> 8) - 8388608.0f, static_cast<int>(bits() & 7) - 28);
}

OptimizerConfig optimizer_config() {
  OptimizerConfig config;
  config.weight_decay = 0.1;
  return config;
}

struct Trained {
  std::vector<std::vector<std::byte>> compute;   // [parameter]
  std::vector<std::vector<float>> master, m, v;  // [parameter]; NaN where this rank has none
};

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  const auto* bytes = static_cast<const std::byte*>(tensor.data);
  return {bytes, bytes + tensor.num_bytes()};
}

Trained result_of(Model& model, const Optimizer& optimizer) {
  Trained trained;
  for (const Parameter& parameter : model.parameters()) {
    trained.compute.push_back(bytes_of(parameter.compute));
    for (auto* kind : {&trained.master, &trained.m, &trained.v})
      kind->emplace_back(static_cast<std::size_t>(parameter.gradient.numel()), NAN);
  }
  for (std::size_t i = 0; i < optimizer.pieces().size(); ++i) {
    const WeightPiece& piece = optimizer.pieces()[i];
    const auto put = [&](std::vector<std::vector<float>>& kind, const Tensor& values) {
      std::copy_n(values.get<float>(), values.numel(),
                  kind[static_cast<std::size_t>(piece.parameter)].begin() + piece.range.begin);
    };
    put(trained.master, piece.master);
    put(trained.m, optimizer.moments()[i].m);
    put(trained.v, optimizer.moments()[i].v);
  }
  return trained;
}

Trained train_whole(Communicator& replicas, DType precision) {
  const ModelConfig config = small_config();
  Arena weights("weights", 1 << 24), state("state", 1 << 24), workspace("workspace", 1 << 20);
  Model model(config, precision, Gradients::kKeep, weights);
  model.initialize(Exec{}, 3);
  Optimizer optimizer(optimizer_config(), model.parameters(), state);
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    fill_gradients(model, replicas.rank(), step);
    replicas.all_reduce(model.all_gradients(), ReduceOp::kSum);
    optimizer.update({.workspace = &workspace}, step, 0.01, 0.5);
  }
  return result_of(model, optimizer);
}

Trained train_sharded(Communicator& replicas, DType precision, std::int64_t bucket_bytes) {
  const ModelConfig config = small_config();
  const std::vector<StageSpan> stages = {whole_model(config)};
  const WeightLayout layout = weight_layout(config, stages, precision);
  const BucketLayout buckets = plan_buckets(layout.unit_ranges(), bucket_bytes, replicas.size(), layout.undivided);
  const std::vector<FlatRange> owned = buckets.owned_by(replicas.rank());

  Arena weights("weights", 1 << 24), workspace("workspace", 1 << 20);
  Arena state("state", Optimizer::state_bytes(layout.weights_in(owned)) + 64);
  Arena buffers("buffers", GradientReducer::buffer_bytes(buckets, replicas.rank()));
  Model model(config, precision, Gradients::kKeep, weights, stages, owned);
  model.initialize(Exec{}, 3);
  Optimizer optimizer(optimizer_config(), model.parameters(), model.pieces(), state);
  GradientReducer reducer({}, replicas, buckets, model.all_gradients(), buffers, ReductionResult::kOwnShard);
  WeightGather gather({}, replicas, buckets, model.all_weights());
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    for (std::int64_t unit = 0; unit < buckets.num_units; ++unit) gather.wait_for(unit);
    fill_gradients(model, replicas.rank(), step);
    reducer.begin_step();
    for (std::int64_t unit = buckets.num_units; unit-- > 0;) reducer.unit_done(unit);
    reducer.finish();
    optimizer.update({.workspace = &workspace}, step, 0.01, 0.5);
    gather.start();
  }
  gather.finish();
  return result_of(model, optimizer);
}

TEST(ShardedUpdate, GivesTheBitsOfAWholeOne) {
  for (const DType precision : {DType::kF32, DType::kBF16})
    for (const int num_replicas : {1, 2, 3, 5})
      for (const std::int64_t bucket_bytes : {256, 20'000, 1 << 20})
        run_local_ranks(num_replicas, {.timeout_ms = 60'000}, [&](Communicator& replicas) {
          SCOPED_TRACE(
              fmt::format("{}, {} replicas, buckets of {} bytes", name_of(precision), num_replicas, bucket_bytes));
          const Trained whole = train_whole(replicas, precision);
          const Trained sharded = train_sharded(replicas, precision, bucket_bytes);
          ASSERT_EQ(sharded.compute, whole.compute);
          const auto expect_own = [&](const auto& got, const auto& want) {
            std::int64_t count = 0;
            for (std::size_t p = 0; p < want.size(); ++p)
              for (std::size_t i = 0; i < want[p].size(); ++i) {
                if (std::isnan(got[p][i])) continue;
                ++count;
                ASSERT_EQ(std::memcmp(&got[p][i], &want[p][i], sizeof(float)), 0);
              }
            // Each element is somebody's.
            std::array<double, 1> total = {static_cast<double>(count)};
            replicas.all_reduce(total, ReduceOp::kSum);
            EXPECT_EQ(total[0], count_parameters(small_config()));
          };
          expect_own(sharded.master, whole.master);
          expect_own(sharded.m, whole.m);
          expect_own(sharded.v, whole.v);
        });
}

}  // namespace
}  // namespace longspan
