// Tensors in pieces over ranks: together on rank 0 and back, for any cut; missing and doubled elements are named.
#include "trainer/checkpoint/state_exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <random>

#include "tests/parallel/lazy_device.h"

namespace longspan {
namespace {

using ::testing::HasSubstr;

const std::vector<NamedTensor> kTensors = {{"weights/matrix", {7, 13}, {}},
                                           {"weights/one", {1}, {}},
                                           {"weights/nothing", {0}, {}},
                                           {"adam_m/vector", {64}, {}}};

float value_at(std::size_t tensor, std::int64_t element) {
  return static_cast<float>(1000 * static_cast<std::int64_t>(tensor) + element);
}

struct Cut {
  std::size_t tensor;
  FlatRange range;
  int rank;
  StateRole role;
};

// Each tensor in random pieces, brought by random ranks; some are taken by others too.
std::vector<Cut> random_cuts(int num_ranks, unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&](std::int64_t limit) {
    return static_cast<std::int64_t>(random() % static_cast<unsigned>(limit));
  };
  std::vector<Cut> cuts;
  for (std::size_t t = 0; t < kTensors.size(); ++t)
    for (std::int64_t begin = 0; begin < kTensors[t].numel();) {
      const std::int64_t end = std::min(kTensors[t].numel(), begin + 1 + below(40));
      const int owner = static_cast<int>(below(num_ranks));
      cuts.push_back({t, {begin, end}, owner, StateRole::kBrings});
      for (int r = 0; r < num_ranks; ++r)
        if (r != owner && below(2) == 0) cuts.push_back({t, {begin, end}, r, StateRole::kTakes});
      begin = end;
    }
  std::shuffle(cuts.begin(), cuts.end(), random);
  return cuts;
}

// This rank's pieces of the cuts, in memory of exec's device.
struct Holding {
  Holding(const std::vector<Cut>& cuts, int rank, const Exec& exec)
      : exec(exec), arena("pieces", 1 << 16, *exec.runtime) {
    for (const Cut& cut : cuts) {
      if (cut.rank != rank) continue;
      held.push_back(cut);
      pieces.push_back({kTensors[cut.tensor].name, cut.range,
                        arena.allocate_zeroed("piece", MemoryCategory::kWeights, DType::kF32, {cut.range.size()}),
                        cut.role});
    }
  }
  void fill(StateRole role, float shift) {
    for (std::size_t i = 0; i < held.size(); ++i) {
      if (held[i].role != role) continue;
      std::vector<float> values;
      for (std::int64_t e = held[i].range.begin; e < held[i].range.end; ++e)
        values.push_back(value_at(held[i].tensor, e) + shift);
      exec.runtime->copy(exec.stream, pieces[i].memory.data, values.data(), pieces[i].memory.num_bytes());
      exec.runtime->synchronize(exec.stream);
    }
  }
  void expect(float shift) {
    for (std::size_t i = 0; i < held.size(); ++i) {
      std::vector<float> values(static_cast<std::size_t>(held[i].range.size()));
      exec.runtime->copy(exec.stream, values.data(), pieces[i].memory.data, pieces[i].memory.num_bytes());
      exec.runtime->synchronize(exec.stream);
      for (std::size_t e = 0; e < values.size(); ++e)
        ASSERT_EQ(values[e], value_at(held[i].tensor, held[i].range.begin + static_cast<std::int64_t>(e)) + shift);
    }
  }
  Exec exec;
  Arena arena;
  std::vector<Cut> held;
  std::vector<StatePiece> pieces;
};

void gather_and_scatter(Communicator& world, const std::vector<Cut>& cuts, const Exec& exec) {
  Holding holding(cuts, world.rank(), exec);
  holding.fill(StateRole::kBrings, 0);
  holding.fill(StateRole::kTakes, -7);  // not to be looked at
  const StateExchange exchange(world, kTensors, holding.pieces, exec);

  std::vector<std::vector<float>> whole;
  for (const NamedTensor& tensor : kTensors) whole.emplace_back(static_cast<std::size_t>(tensor.numel()), -1.0f);
  const auto room = [&](std::size_t t) { return Tensor(whole[t].data(), DType::kF32, {kTensors[t].numel()}); };
  exchange.gather(room);
  for (std::size_t t = 0; t < whole.size(); ++t)
    for (std::size_t e = 0; e < whole[t].size(); ++e)
      ASSERT_EQ(whole[t][e], world.rank() == 0 ? value_at(t, static_cast<std::int64_t>(e)) : -1.0f);

  std::size_t num_read = 0;
  exchange.scatter([&](std::size_t t, const Tensor& into) {
    ASSERT_EQ(t, num_read++);
    ASSERT_EQ(into.numel(), kTensors[t].numel());
    for (std::int64_t e = 0; e < into.numel(); ++e) into.get<float>()[e] = value_at(t, e) + 0.5f;
  });
  EXPECT_EQ(num_read, world.rank() == 0 ? kTensors.size() : 0);
  holding.expect(0.5f);
}

TEST(StateExchange, BringsAnyCutTogetherAndBack) {
  for (const int num_ranks : {1, 2, 3, 5})
    for (unsigned seed = 0; seed < 8; ++seed) {
      SCOPED_TRACE(fmt::format("{} ranks, seed {}", num_ranks, seed));
      const std::vector<Cut> cuts = random_cuts(num_ranks, seed);
      run_local_ranks(num_ranks, {.timeout_ms = 60'000},
                      [&](Communicator& world) { gather_and_scatter(world, cuts, {}); });
      std::vector<testing::LazyDevice> devices(static_cast<std::size_t>(num_ranks));
      run_local_ranks(num_ranks, {.timeout_ms = 60'000}, [&](Communicator& world) {
        testing::LazyDevice& device = devices[static_cast<std::size_t>(world.rank())];
        const Stream compute = device.make_stream(StreamUse::kCompute);
        gather_and_scatter(world, cuts, {.device = Device::kCuda, .runtime = &device, .stream = compute});
      });
    }
}

// As data parallelism has it: the first replica brings everything.
TEST(StateExchange, TakesWhatIsHereAsItIs) {
  run_local_ranks(2, {.timeout_ms = 60'000}, [](Communicator& world) {
    std::vector<Cut> cuts;
    for (std::size_t t = 0; t < kTensors.size(); ++t)
      for (const int rank : {0, 1})
        cuts.push_back({t, {0, kTensors[t].numel()}, rank, rank == 0 ? StateRole::kBrings : StateRole::kTakes});
    Holding holding(cuts, world.rank(), {});
    const StateExchange exchange(world, kTensors, holding.pieces, {});
    EXPECT_EQ(exchange.all_is_here(), world.rank() == 0);
    if (world.rank() == 0) {
      const std::vector<NamedTensor> here = exchange.tensors_here();
      ASSERT_EQ(here.size(), kTensors.size());
      EXPECT_EQ(here[0].name, "weights/matrix");
      EXPECT_EQ(here[0].tensor.data, holding.pieces[0].memory.data);
      EXPECT_EQ(here[2].tensor.numel(), 0);
    }
    gather_and_scatter(world, cuts, {});
  });
}

std::string fault_of(const std::vector<Cut>& cuts) {
  try {
    run_local_ranks(3, {.timeout_ms = 60'000}, [&](Communicator& world) {
      Holding holding(cuts, world.rank(), {});
      const StateExchange exchange(world, kTensors, holding.pieces, {});
      world.barrier();
    });
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal);
    return error.what();
  }
  return "none";
}

TEST(StateExchange, NamesWhatIsMissingOrDoubled) {
  const auto cuts_with = [](const std::vector<Cut>& matrix) {
    std::vector<Cut> cuts = {{1, {0, 1}, 2, StateRole::kBrings}, {3, {0, 64}, 1, StateRole::kBrings}};
    cuts.insert(cuts.end(), matrix.begin(), matrix.end());
    return cuts;
  };
  constexpr StateRole kBrings = StateRole::kBrings;
  EXPECT_EQ(fault_of(cuts_with({{0, {40, 91}, 1, kBrings}, {0, {0, 40}, 2, kBrings}})), "none");
  EXPECT_THAT(fault_of(cuts_with({{0, {41, 91}, 1, kBrings}, {0, {0, 40}, 2, kBrings}})),
              HasSubstr("weights/matrix: elements 40 to 41 are brought to a checkpoint by no rank"));
  EXPECT_THAT(fault_of(cuts_with({{0, {0, 40}, 2, kBrings}, {0, {40, 91}, 1, StateRole::kTakes}})),
              HasSubstr("weights/matrix: elements 40 to 91 are brought to a checkpoint by no rank"));
  EXPECT_THAT(fault_of(cuts_with({})), HasSubstr("weights/matrix: elements 0 to 91"));
  EXPECT_THAT(fault_of(cuts_with({{0, {38, 91}, 1, kBrings}, {0, {0, 40}, 2, kBrings}})),
              HasSubstr("weights/matrix: elements 38 to 40 are brought to a checkpoint by ranks 2 and 1"));
  EXPECT_THAT(fault_of(cuts_with({{0, {0, 91}, 1, kBrings}, {0, {0, 91}, 0, kBrings}})),
              HasSubstr("weights/matrix: elements 0 to 91 are brought to a checkpoint by ranks 0 and 1"));
}

TEST(StateExchange, RefusesPiecesOfNoTensor) {
  run_local_ranks(1, {}, [](Communicator& world) {
    std::vector<float> values(4);
    const Tensor four(values.data(), DType::kF32, {4});
    const auto make = [&](const StatePiece& piece) { StateExchange(world, kTensors, {piece}, {}); };
    EXPECT_THROW(make({"weights/other", {0, 4}, four}), Error);
    EXPECT_THROW(make({"weights/matrix", {0, 5}, four}), Error);
    EXPECT_THROW(make({"weights/one", {0, 4}, four}), Error);
    EXPECT_THROW(make({"weights/matrix", {-1, 3}, four}), Error);
  });
}

}  // namespace
}  // namespace longspan
