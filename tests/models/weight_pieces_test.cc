// Models that update a part of their weights: where the parts lie, what they hold, and that none is missing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "parallel/data/bucket_layout.h"
#include "tests/models/model_runs.h"

namespace longspan::test {
namespace {

ModelConfig config_of(std::int64_t heads) {
  ModelConfig config = tiny_config();
  config.heads = heads;
  config.kv_heads = heads / 2;
  config.qkv_bias = true;
  config.pattern.resize(2);
  config.pattern[1].sink = true;
  return config;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype == b.dtype && a.numel() == b.numel() &&
         (a.numel() == 0 || std::memcmp(a.data, b.data, static_cast<std::size_t>(a.num_bytes())) == 0);
}

struct Replicas {
  Replicas(const ModelConfig& config, DType precision, std::int64_t bucket_bytes, int count)
      : stages{whole_model(config)},
        layout(weight_layout(config, stages, precision)),
        buckets(plan_buckets(layout.unit_ranges(), bucket_bytes, count, layout.undivided)) {
    for (int r = 0; r < count; ++r) {
      arenas.push_back(std::make_unique<Arena>("weights", 1 << 24));
      models.push_back(
          std::make_unique<Model>(config, precision, Gradients::kKeep, *arenas.back(), stages, buckets.owned_by(r)));
    }
  }
  std::vector<StageSpan> stages;
  WeightLayout layout;
  BucketLayout buckets;
  std::vector<std::unique_ptr<Arena>> arenas;
  std::vector<std::unique_ptr<Model>> models;
};

template <class Check>
void for_all_replicas(Check check) {
  for (const std::int64_t heads : {4, 40})  // of 40 sinks the fp32 copies fill three blocks
    for (const DType precision : {DType::kF32, DType::kBF16})
      for (const std::int64_t bucket_bytes : {128, 5000})
        for (const int count : {1, 2, 3, 8}) {
          SCOPED_TRACE(fmt::format("{} heads, {}, buckets of {} bytes, {} replicas", heads, name_of(precision),
                                   bucket_bytes, count));
          const ModelConfig config = config_of(heads);
          Arena arena("weights", 1 << 24);
          Model whole(config, precision, Gradients::kKeep, arena);
          Replicas replicas(config, precision, bucket_bytes, count);
          check(whole, replicas);
        }
}

TEST(WeightPieces, AreEachElementOnce) {
  for_all_replicas([](Model& whole, Replicas& replicas) {
    whole.initialize(Exec{}, 5);
    EXPECT_FALSE(whole.is_sharded());
    std::vector<std::vector<int>> owners;
    for (const Parameter& parameter : whole.parameters())
      owners.emplace_back(static_cast<std::size_t>(parameter.gradient.numel()));
    for (std::size_t r = 0; r < replicas.models.size(); ++r) {
      Model& model = *replicas.models[r];
      const std::vector<FlatRange> owned = replicas.buckets.owned_by(static_cast<int>(r));
      EXPECT_TRUE(model.is_sharded());
      EXPECT_EQ(replicas.arenas[r]->used_bytes(),
                weight_bytes(model.config(), replicas.stages, model.precision(), Gradients::kKeep, owned));
      model.initialize(Exec{}, 5);
      std::int64_t count = 0;
      for (const WeightPiece& piece : model.pieces()) {
        const auto place = static_cast<std::size_t>(piece.parameter);
        const Parameter& parameter = whole.parameters()[place];
        const auto part_of = [&](const Tensor& tensor) { return tensor.narrow(0, piece.range.begin, piece.range.end); };
        ASSERT_TRUE(same_bits(piece.master, part_of(parameter.master))) << parameter.name;
        ASSERT_TRUE(same_bits(piece.compute, part_of(parameter.compute))) << parameter.name;
        ASSERT_EQ(piece.compute.data, part_of(model.parameters()[place].compute).data);
        ASSERT_EQ(piece.gradient.data, part_of(model.parameters()[place].gradient).data);
        ASSERT_EQ(reinterpret_cast<std::uintptr_t>(piece.master.data) % 64, 0u);
        for (std::int64_t i = piece.range.begin; i < piece.range.end; ++i) ++owners[place][static_cast<std::size_t>(i)];
        count += piece.range.size();
      }
      EXPECT_EQ(count, replicas.layout.weights_in(owned));
      for (std::size_t p = 0; p < whole.parameters().size(); ++p)  // read by the layers: whole on each
        ASSERT_TRUE(same_bits(model.parameters()[p].compute, whole.parameters()[p].compute));
    }
    for (const auto& counts : owners)
      for (const int count : counts) ASSERT_EQ(count, 1);
  });
}

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  const auto* bytes = static_cast<const std::byte*>(tensor.data);
  return {bytes, bytes + tensor.num_bytes()};
}

TEST(WeightPieces, RefreshOwnCopiesAlone) {
  for_all_replicas([](Model& whole, Replicas& replicas) {
    const auto shift = [](const Tensor& master) {
      for (std::int64_t i = 0; i < master.numel(); ++i) master.get<float>()[i] += 1.5f;
    };
    whole.initialize(Exec{}, 5);
    for (const Parameter& parameter : whole.parameters()) shift(parameter.master);
    whole.refresh_compute(Exec{});
    for (const auto& model : replicas.models) {
      model->initialize(Exec{}, 5);
      std::vector<std::vector<std::byte>> expected;
      for (const Parameter& parameter : model->parameters()) expected.push_back(bytes_of(parameter.compute));
      for (const WeightPiece& piece : model->pieces()) {
        shift(piece.master);
        const auto place = static_cast<std::size_t>(piece.parameter);
        const Tensor& refreshed = whole.parameters()[place].compute;
        const std::vector<std::byte> part = bytes_of(refreshed.narrow(0, piece.range.begin, piece.range.end));
        std::copy(part.begin(), part.end(), expected[place].begin() + piece.range.begin * size_of(refreshed.dtype));
      }
      model->refresh_compute(Exec{});
      for (std::size_t p = 0; p < expected.size(); ++p)
        ASSERT_EQ(bytes_of(model->parameters()[p].compute), expected[p]) << model->parameters()[p].name;
    }
  });
}

TEST(WeightPieces, LayoutIsKnownBeforeTheModel) {
  const ModelConfig config = config_of(40);
  for (const DType precision : {DType::kF32, DType::kBF16}) {
    const std::vector<StageSpan> stages = {{0, 1, true, false}, {1, config.layers, false, true}};
    const WeightLayout layout = weight_layout(config, stages, precision);
    Arena arena("weights", 1 << 24);
    Model model(config, precision, Gradients::kKeep, arena, stages);
    EXPECT_EQ(layout.num_elements(), model.all_gradients().numel());
    EXPECT_EQ(layout.num_elements(), model.all_weights().numel());
    EXPECT_EQ(model.all_weights().dtype, precision);
    ASSERT_EQ(layout.units.size(), model.units().size());
    for (std::size_t u = 0; u < layout.units.size(); ++u) EXPECT_EQ(layout.units[u].range(), model.units()[u].range());
    ASSERT_EQ(layout.parameters.size(), model.parameters().size());
    std::int64_t count = 0;
    for (std::size_t p = 0; p < layout.parameters.size(); ++p) {
      const Parameter& parameter = model.parameters()[p];
      EXPECT_EQ(parameter.place, layout.parameters[p]);
      EXPECT_EQ(parameter.gradient.data,
                model.all_gradients().narrow(0, parameter.place.begin, parameter.place.end).data);
      count += parameter.gradient.numel();
    }
    EXPECT_EQ(layout.weights_in(std::vector<FlatRange>{{0, layout.num_elements()}}), count);
    EXPECT_EQ(layout.undivided.empty(), precision == DType::kF32);
  }
}

TEST(WeightPieces, ACopyOfTheEmbeddingIsTold) {
  ModelConfig config = config_of(4);
  config.tie_embeddings = true;
  Arena arena("weights", 1 << 24);
  Model first(config, DType::kF32, Gradients::kKeep, arena, {{0, 1, true, false}});
  Model last(config, DType::kF32, Gradients::kKeep, arena, {{1, config.layers, false, true}});
  Model whole(config, DType::kF32, Gradients::kKeep, arena);
  const auto copies = [](Model& model) {
    std::vector<std::string> names;
    for (const Parameter& parameter : model.parameters())
      if (parameter.tied_copy) names.push_back(parameter.name);
    return names;
  };
  EXPECT_EQ(copies(first), std::vector<std::string>{});
  EXPECT_EQ(copies(whole), std::vector<std::string>{});
  EXPECT_EQ(copies(last), std::vector<std::string>{"model.embed_tokens.weight"});
}

TEST(WeightPieces, AShareThatDividesAWideCopyIsRefused) {
  const ModelConfig config = config_of(40);
  const std::vector<StageSpan> stages = {whole_model(config)};
  const FlatRange wide = weight_layout(config, stages, DType::kBF16).undivided.front();
  ASSERT_EQ(wide.size(), 96);
  Arena arena("weights", 1 << 24);
  EXPECT_THROW(Model(config, DType::kBF16, Gradients::kKeep, arena, stages, {{0, wide.begin + 32}}), Error);
}

}  // namespace
}  // namespace longspan::test
