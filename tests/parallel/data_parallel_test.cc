// Reductions and gathers over replicas on threads as ranks, and what misuse and failures do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "parallel/data/gradient_reducer.h"
#include "parallel/data/weight_gather.h"
#include "tests/multirank/nccl_fleet.h"
#include "tests/parallel/data_bodies.h"
#include "tests/parallel/in_order_communicator.h"

namespace longspan::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using BodyAndRanks = std::tuple<DataBody, int>;
std::string name_of(const ::testing::TestParamInfo<BodyAndRanks>& info) {
  return fmt::format("{}_{}", std::get<0>(info.param).name, std::get<1>(info.param));
}

std::vector<DataBody> all_bodies() {
  std::vector<DataBody> all(reduction_bodies().begin(), reduction_bodies().end());
  all.insert(all.end(), gather_bodies().begin(), gather_bodies().end());
  return all;
}

class DataRanks : public ::testing::TestWithParam<BodyAndRanks> {};

TEST_P(DataRanks, Run) {
  const auto& [body, num_ranks] = GetParam();
  run_local_ranks(num_ranks, {.timeout_ms = 60'000}, [&body = body](Communicator& comm) { body.run({comm, {}}); });
}

// As over NCCL: starts at places of the program alone, the same on all ranks.
TEST_P(DataRanks, RunInOrder) {
  const auto& [body, num_ranks] = GetParam();
  run_local_ranks(num_ranks, {.timeout_ms = 60'000}, [&body = body](Communicator& world) {
    InOrderCommunicator comm(world);
    body.run({comm, {}});
  });
}

// As over MPI: a thread of the reducer's own looks.
TEST_P(DataRanks, RunWithAThread) {
  const auto& [body, num_ranks] = GetParam();
  run_local_ranks(num_ranks, {.timeout_ms = 60'000}, [&body = body](Communicator& world) {
    ThreadedCommunicator comm(world);
    body.run({comm, {}});
  });
}

INSTANTIATE_TEST_SUITE_P(Bodies, DataRanks,
                         ::testing::Combine(::testing::ValuesIn(all_bodies()), ::testing::Values(1, 2, 3, 4, 5, 8)),
                         name_of);

class DataDevices : public ::testing::TestWithParam<BodyAndRanks> {};

Exec exec_of(const DeviceRank& rank) {
  return {.device = Device::kCuda, .runtime = &rank.runtime, .stream = rank.compute};
}

TEST_P(DataDevices, Run) {
  const auto& [body, num_ranks] = GetParam();
  std::vector<LazyDevice> devices(static_cast<std::size_t>(num_ranks));
  run_local_ranks(num_ranks, {.timeout_ms = 60'000}, [&, &body = body](Communicator& world) {
    LazyDevice& device = devices[static_cast<std::size_t>(world.rank())];
    const auto comm = world.split(0, world.rank());
    const Stream compute = device.make_stream(StreamUse::kCompute);
    comm->use_device(device, compute);
    body.run({*comm, exec_of({*comm, device, compute})});
  });
}

TEST_P(DataDevices, RunOverNccl) {
  const auto& [body, num_ranks] = GetParam();
  Fleet fleet(num_ranks);
  EXPECT_EQ(fleet.run(60'000, [&body = body](const DeviceRank& rank) { body.run({rank.comm, exec_of(rank)}); }), "");
}

INSTANTIATE_TEST_SUITE_P(Bodies, DataDevices,
                         ::testing::Combine(::testing::ValuesIn(gather_bodies().begin(), gather_bodies().end()),
                                            ::testing::Values(1, 2, 3, 5)),
                         name_of);

// One unit of 1000 elements, two buckets.
struct Reduction {
  explicit Reduction(Communicator& comm)
      : layout(plan_buckets(std::vector<FlatRange>{{0, 1000}}, 2048, comm.size())),
        values(1000),
        buffers("buffers", GradientReducer::buffer_bytes(layout, comm.rank())),
        reducer({}, comm, layout, Tensor(values.data(), DType::kF32, {1000}), buffers, ReductionResult::kWhole) {}
  BucketLayout layout;
  std::vector<float> values;
  Arena buffers;
  GradientReducer reducer;
};

TEST(DataFaults, MisuseIsNamed) {
  run_local_ranks(2, {.timeout_ms = 60'000}, [](Communicator& comm) {
    Reduction reduction(comm);
    GradientReducer& reducer = reduction.reducer;
    reducer.begin_step();
    EXPECT_THROW(reducer.finish(), Error);
    EXPECT_THROW(reducer.unit_done(1), Error);
    EXPECT_THROW(reducer.unit_done(-1), Error);
    reducer.unit_done(0);
    EXPECT_THROW(reducer.unit_done(0), Error);
    EXPECT_THROW(reducer.begin_step(), Error);
    reducer.finish();
    reducer.begin_step();
    reducer.unit_done(0);
    reducer.finish();
  });
}

TEST(DataFaults, ALayoutForOthersIsRefused) {
  run_local_ranks(2, {.timeout_ms = 60'000}, [](Communicator& comm) {
    const BucketLayout layout = plan_buckets(std::vector<FlatRange>{{0, 10}}, 100, 3);
    std::vector<float> values(10);
    const Tensor tensor(values.data(), DType::kF32, {10});
    Arena buffers("buffers", 1 << 16);
    EXPECT_THROW(GradientReducer({}, comm, layout, tensor, buffers, ReductionResult::kWhole), Error);
    EXPECT_THROW(WeightGather({}, comm, layout, tensor), Error);
  });
}

std::string message_of(int num_ranks, std::int64_t timeout_ms, const std::function<void(Communicator&)>& body) {
  try {
    run_local_ranks(num_ranks, {.timeout_ms = timeout_ms}, body);
  } catch (const Error& error) {
    return error.what();
  }
  return "no exception";
}

// Rank 1 fails once the others have begun a reduction.
template <class Wrapped>
void fail_one_of_three() {
  std::atomic<int> num_begun = 0, num_heard = 0;
  const std::string message = message_of(3, 60'000, [&](Communicator& world) {
    Wrapped comm(world);
    Reduction reduction(comm);
    reduction.reducer.begin_step();
    ++num_begun;
    while (world.rank() == 1 && num_begun < 3) std::this_thread::yield();
    if (world.rank() == 1) fail(ErrorKind::kData, "tokens.h5: torn");
    try {
      reduction.reducer.unit_done(0);
      reduction.reducer.finish();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kAborted);
      EXPECT_THAT(error.what(), AllOf(HasSubstr("gradients of bucket"), HasSubstr("tokens.h5: torn")));
      ++num_heard;
      throw;
    }
  });
  EXPECT_EQ(message, "rank 1: tokens.h5: torn");
  EXPECT_EQ(num_heard, 2);
}

TEST(DataFaults, AFailingPeerEndsTheWait) {
  fail_one_of_three<PlainCommunicator>();
  fail_one_of_three<InOrderCommunicator>();
  fail_one_of_three<ThreadedCommunicator>();
}

template <class Wrapped>
std::string silence_one_of_two() {
  return message_of(2, 200, [](Communicator& world) {
    Wrapped comm(world);
    Reduction reduction(comm);
    reduction.reducer.begin_step();
    if (world.rank() == 1) {
      while (world.abort_reason().empty()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return;
    }
    reduction.reducer.unit_done(0);
    reduction.reducer.finish();
  });
}

TEST(DataFaults, ASilentPeerIsNamed) {
  for (const std::string& message :
       {silence_one_of_two<PlainCommunicator>(), silence_one_of_two<ThreadedCommunicator>()}) {
    EXPECT_THAT(message, HasSubstr("waited 200 ms for 'gradients of bucket 0'"));
    EXPECT_THAT(message, HasSubstr("from rank 1"));
  }
}

// What goes wrong while the rank computes is told at its next call.
TEST(DataFaults, AFailureOfTheThreadSurfacesAtTheNextCall) {
  message_of(2, 60'000, [](Communicator& world) {
    ThreadedCommunicator comm(world);
    Reduction reduction(comm);
    reduction.reducer.begin_step();
    if (world.rank() == 1) fail(ErrorKind::kData, "tokens.h5: torn");
    reduction.reducer.unit_done(0);
    const auto call_until_it_throws = [&] {
      while (true) {
        reduction.reducer.progress();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    };
    EXPECT_THROW(call_until_it_throws(), Error);
    EXPECT_THROW(reduction.reducer.finish(), Error);
  });
}

}  // namespace
}  // namespace longspan::testing
