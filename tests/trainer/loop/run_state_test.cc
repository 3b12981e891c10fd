// What one layout of ranks saved resumes under any other, and the file does not tell which it was.
#include "trainer/loop/run_state.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include "parallel/data/bucket_layout.h"
#include "trainer/config/config.h"

namespace longspan {
namespace {

namespace fs = std::filesystem;

ModelConfig small_config() {
  ModelConfig config;
  config.layers = 4;
  config.hidden = 24;
  config.heads = 40;  // of 40 sinks the fp32 copies fill three blocks of the flat tensors
  config.kv_heads = 4;
  config.head_dim = 4;
  config.ffn = 31;
  config.vocab = 37;
  config.tie_embeddings = true;
  config.pattern.resize(2);
  config.pattern[0].sink = true;
  return config;
}

enum class Sharing { kWhole, kSharded };

struct Layout {
  const char* name;
  std::vector<std::vector<StageSpan>> stages;  // [place in the pipeline]
  int replicas = 1;
  Sharing sharing = Sharing::kWhole;
  DType precision = DType::kF32;
};

std::vector<Layout> layouts() {
  const std::vector<StageSpan> whole = {whole_model(small_config())};
  const std::vector<StageSpan> first = {{0, 1, true, false}, {2, 3, false, false}};
  const std::vector<StageSpan> last = {{1, 2, false, false}, {3, 4, false, true}};
  return {
      {"one rank", {whole}, 1, Sharing::kWhole, DType::kF32},
      {"one rank in bf16", {whole}, 1, Sharing::kWhole, DType::kBF16},
      {"3 replicas", {whole}, 3, Sharing::kWhole, DType::kBF16},
      {"3 replicas, sharded", {whole}, 3, Sharing::kSharded, DType::kBF16},
      {"2 replicas, sharded, in fp32", {whole}, 2, Sharing::kSharded, DType::kF32},
      {"pipeline of 2", {first, last}, 1, Sharing::kWhole, DType::kF32},
      {"pipeline of 2, 2 replicas, sharded", {first, last}, 2, Sharing::kSharded, DType::kBF16},
  };
}

// One rank of a layout; rank = place x replicas + replica.
struct Rank {
  Rank(Communicator& world, const Layout& layout)
      : replica(world.rank() % layout.replicas),
        stages(layout.stages[static_cast<std::size_t>(world.rank() / layout.replicas)]),
        weights("weights", 1 << 22),
        state("state", 1 << 22) {
    const WeightLayout places = weight_layout(small_config(), stages, layout.precision);
    const BucketLayout buckets = plan_buckets(places.unit_ranges(), 3000, layout.replicas, places.undivided);
    if (layout.sharing == Sharing::kSharded)
      model.emplace(small_config(), layout.precision, Gradients::kKeep, weights, stages, buckets.owned_by(replica));
    else
      model.emplace(small_config(), layout.precision, Gradients::kKeep, weights, stages);
    optimizer.emplace(OptimizerConfig{}, model->parameters(), model->pieces(), state);
    run_state.emplace(world, *model, *optimizer, replica, Exec{});
  }

  // Calls visit(tensor of the checkpoint, first element, memory) for all that this rank has.
  template <class Visit>
  void for_each_piece(Visit visit) {
    for (const StatePiece& piece : training_pieces(*model, *optimizer, replica))
      visit(piece.tensor, piece.range.begin, piece.memory);
  }

  int replica;
  std::vector<StageSpan> stages;
  Arena weights, state;
  std::optional<Model> model;
  std::optional<Optimizer> optimizer;
  std::optional<RunState> run_state;
};

float value_of(const std::string& tensor, std::int64_t element) {
  return static_cast<float>(std::hash<std::string>{}(tensor) % 1000) + static_cast<float>(element) / 1024;
}

class RunStateTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "longspan-run-state-XXXXXX";
    config_.run.dir = mkdtemp(pattern.data());
    config_.model = small_config();
  }
  void TearDown() override { fs::remove_all(config_.run.dir); }

  void save(const Layout& layout, const std::string& name, bool async) {
    config_.run.name = name;
    run_local_ranks(static_cast<int>(layout.stages.size()) * layout.replicas, {.timeout_ms = 60'000},
                    [&](Communicator& world) {
                      Rank rank(world, layout);
                      rank.for_each_piece([](const std::string& tensor, std::int64_t first, const Tensor& memory) {
                        for (std::int64_t i = 0; i < memory.numel(); ++i)
                          memory.get<float>()[i] = value_of(tensor, first + i);
                      });
                      std::unique_ptr<CheckpointWriter> writer;
                      if (world.rank() == 0)
                        writer = std::make_unique<CheckpointWriter>(config_.checkpoint_folder(), 0, async);
                      rank.run_state->save(writer.get(), {.step = 12,
                                                          .sequences_consumed = 34,
                                                          .data_fingerprint = 56,
                                                          .config_yaml = "model: {}\n",
                                                          .tensors = {}});
                      // A snapshot has been taken: what comes now is not saved.
                      if (async)
                        rank.for_each_piece([](const std::string&, std::int64_t, const Tensor& memory) {
                          std::fill_n(memory.get<float>(), memory.numel(), -1.0f);
                        });
                      if (writer) writer->finish();
                    });
  }

  void expect_resumes(const Layout& layout) {
    run_local_ranks(static_cast<int>(layout.stages.size()) * layout.replicas, {.timeout_ms = 60'000},
                    [&](Communicator& world) {
                      Rank rank(world, layout);
                      const auto state = rank.run_state->resume(config_, 56, [](const std::string&) {});
                      ASSERT_TRUE(state);
                      EXPECT_EQ(state->step, 12);
                      EXPECT_EQ(state->sequences_consumed, 34);
                      rank.for_each_piece([](const std::string& tensor, std::int64_t first, const Tensor& memory) {
                        for (std::int64_t i = 0; i < memory.numel(); ++i)
                          ASSERT_EQ(memory.get<float>()[i], value_of(tensor, first + i)) << tensor << " " << first + i;
                      });
                    });
  }

  std::string contents_of(const char* file) const {
    std::ifstream stream(config_.checkpoint_folder() + "/step-00000012/" + file, std::ios::binary);
    EXPECT_TRUE(stream) << file;
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  Config config_;
};

TEST_F(RunStateTest, AnyLayoutResumesAnyOther) {
  std::string first_listing;
  for (const Layout& saved : layouts())
    for (const bool async : {false, true}) {
      SCOPED_TRACE(fmt::format("saved by {}{}", saved.name, async ? " while it goes on" : ""));
      save(saved, fmt::format("{}{}", saved.name, async), async);
      const std::string listing = contents_of("state.json");  // every tensor with its checksum
      if (first_listing.empty()) first_listing = listing;
      EXPECT_EQ(listing, first_listing);
      if (async) continue;
      for (const Layout& resumed : layouts()) {
        SCOPED_TRACE(fmt::format("resumed by {}", resumed.name));
        expect_resumes(resumed);
      }
    }
}

TEST_F(RunStateTest, WithoutACheckpointThereIsNothingToResume) {
  config_.run.name = "new";
  run_local_ranks(3, {.timeout_ms = 60'000}, [&](Communicator& world) {
    Rank rank(world, layouts()[3]);
    EXPECT_FALSE(rank.run_state->resume(config_, 56, [](const std::string&) {}));
  });
}

TEST_F(RunStateTest, OtherDataAndOtherModelsAreRefused) {
  save(layouts()[0], "run", false);
  const auto message_of = [&](std::uint64_t fingerprint) {
    try {
      run_local_ranks(3, {.timeout_ms = 60'000}, [&](Communicator& world) {
        Rank rank(world, layouts()[3]);
        rank.run_state->resume(config_, fingerprint, [](const std::string&) {});
      });
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      return std::string(error.what());
    }
    return std::string("none");
  };
  EXPECT_EQ(message_of(56), "none");
  EXPECT_NE(message_of(57).find("was trained on other data"), std::string::npos);
}

// A file of the format as it has always been: weights, then each parameter's moments.
TEST_F(RunStateTest, NamesAndTheirOrderAreThoseOfTheFormat) {
  std::vector<std::string> names;
  for (const NamedTensor& tensor : training_state(small_config())) names.push_back(tensor.name);
  ASSERT_GT(names.size(), 3u);
  EXPECT_EQ(names.size() % 3, 0u);
  const std::size_t n = names.size() / 3;
  EXPECT_EQ(names[0], "weights/model.embed_tokens.weight");
  EXPECT_EQ(names[n - 1], "weights/model.norm.weight");
  EXPECT_EQ(names[n], "adam_m/model.embed_tokens.weight");
  EXPECT_EQ(names[n + 1], "adam_v/model.embed_tokens.weight");
  EXPECT_EQ(names.back(), "adam_v/model.norm.weight");
}

}  // namespace
}  // namespace longspan
