// What Longspan adds to NCCL: groups, order, deadlines and ends, over a NCCL that is none (fake_nccl.h).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "tests/multirank/nccl_fleet.h"

namespace longspan::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using BodyAndRanks = std::tuple<DeviceBody, int>;
class NcclRanks : public ::testing::TestWithParam<BodyAndRanks> {};

TEST_P(NcclRanks, Run) {
  const auto& [body, num_ranks] = GetParam();
  Fleet fleet(num_ranks);
  EXPECT_EQ(fleet.run(60'000, body.run), "");
  EXPECT_EQ(fleet.board.num_aborted, 0);
  EXPECT_GE(fleet.board.num_left, num_ranks);
}

INSTANTIATE_TEST_SUITE_P(Bodies, NcclRanks,
                         ::testing::Combine(::testing::ValuesIn(device_bodies().begin(), device_bodies().end()),
                                            ::testing::Values(1, 2, 3)),
                         [](const ::testing::TestParamInfo<BodyAndRanks>& info) {
                           return fmt::format("{}_{}", std::get<0>(info.param).name, std::get<1>(info.param));
                         });

// On device memory of 64 bytes.
void receive_from(const DeviceRank& rank, int peer) {
  void* memory = rank.runtime.allocate(64);
  const Receive receive{peer, memory, 64, Device::kCuda};
  rank.comm.start({}, {&receive, 1}, "kv of step 3")->wait();
}

TEST(NcclFaults, ASilentPeerIsNamed) {
  Fleet fleet(2);
  const std::string message = fleet.run(200, [&](const DeviceRank& rank) {
    if (rank.comm.rank() == 0) receive_from(rank, 1);
    while (fleet.board.num_aborted == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  EXPECT_THAT(message, HasSubstr("waited 200 ms for 'kv of step 3': receive 64 bytes from rank 1"));
  EXPECT_GE(fleet.board.num_aborted, 1);  // which is what ends a kernel that waits
}

// Its receive is queued, and the host goes on until it wants the result.
TEST(NcclFaults, APeerThatNeverSendsToAGroupApartIsNamed) {
  Fleet fleet(3);
  std::atomic<bool> all_went_on = false;
  const std::string message = fleet.run(500, [&](const DeviceRank& rank) {
    const auto apart = rank.comm.split_apart(rank.comm.rank() == 1 ? 1 : 0, rank.comm.rank());
    if (rank.comm.rank() == 2) {
      void* memory = rank.runtime.allocate(64);
      const Receive receive{0, memory, 64, Device::kCuda};
      const auto pending = apart->start({}, {&receive, 1}, "micro-batch 5 from pipeline rank 0");
      rank.comm.barrier();
      all_went_on = true;
      pending->wait();
      rank.runtime.synchronize(rank.compute);
      rank.comm.barrier();
    } else {
      rank.comm.barrier();
      while (fleet.board.num_aborted == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  EXPECT_TRUE(all_went_on);
  EXPECT_THAT(message,
              HasSubstr("waited 500 ms for 'micro-batch 5 from pipeline rank 0': receive 64 bytes from rank 0"));
}

// A queue's deadline counts from when the device could begin with it: this rank's compute stream takes longer.
TEST(NcclFaults, ADeadlineLeavesOutWhatADeviceDoesBefore) {
  Fleet fleet(1);
  const std::string message = fleet.run(100, [&](const DeviceRank& rank) {
    const auto apart = rank.comm.split_apart(0, 0);
    void* memory = rank.runtime.allocate(128);
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
    // Passed by this thread, which then does all that follows at once.
    static_cast<LazyDevice&>(rank.runtime).enqueue(rank.compute, [end, us = std::this_thread::get_id()] {
      return std::this_thread::get_id() == us && std::chrono::steady_clock::now() >= end;
    });
    const Send send{0, memory, 64, Device::kCuda};
    const Receive receive{0, static_cast<std::byte*>(memory) + 64, 64, Device::kCuda};
    apart->start({&send, 1}, {&receive, 1}, "to itself")->wait();
    rank.runtime.synchronize(rank.compute);
    rank.runtime.release(memory, 128);
  });
  EXPECT_EQ(message, "");
}

// Everything is queued, and the device does not come to an end: nobody but the watcher can notice.
TEST(NcclFaults, ADeviceThatHangsIsNoticed) {
  Fleet fleet(2);
  const std::string message = fleet.run(200, [&](const DeviceRank& rank) {
    auto& device = static_cast<LazyDevice&>(rank.runtime);
    void* memory = device.allocate(64);
    const Send send{1, memory, 64, Device::kCuda};
    const Receive receive{0, memory, 64, Device::kCuda};
    const auto pending = rank.comm.rank() == 0 ? rank.comm.start({&send, 1}, {}, "kv of step 3")
                                               : rank.comm.start({}, {&receive, 1}, "kv of step 3");
    device.hangs = true;
    pending->wait();
    while (fleet.board.num_aborted < 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    device.hangs = false;
    rank.comm.all_reduce(Tensor(memory, DType::kF32, {16}, Device::kCuda), ReduceOp::kSum);
  });
  EXPECT_THAT(message, HasSubstr("'kv of step 3'"));
}

TEST(NcclFaults, AFailureOfNcclKeepsItsWords) {
  Fleet fleet(2);
  const std::string message = fleet.run(60'000, [&](const DeviceRank& rank) {
    if (rank.comm.rank() == 1) fleet.board.fail = true;
    receive_from(rank, 1 - rank.comm.rank());
  });
  EXPECT_THAT(message, AllOf(HasSubstr("NCCL failed"), HasSubstr("a cable is out")));
}

TEST(NcclFaults, AFailingRankEndsTheOthers) {
  Fleet fleet(3);
  const std::string message = fleet.run(60'000, [](const DeviceRank& rank) {
    rank.comm.barrier();  // all have come
    if (rank.comm.rank() == 2) fail(ErrorKind::kData, "tokens.h5: torn");
    receive_from(rank, 2);
  });
  EXPECT_EQ(message, "rank 2: tokens.h5: torn");
  EXPECT_EQ(fleet.board.num_aborted, 3);
}

TEST(NcclFaults, ADroppedTransferEndsThePeer) {
  Fleet fleet(2);
  const std::string message = fleet.run(60'000, [](const DeviceRank& rank) {
    void* memory = rank.runtime.allocate(64);
    const Send send{1, memory, 64, Device::kCuda};
    if (rank.comm.rank() == 1) receive_from(rank, 0);
    if (rank.comm.rank() == 0) rank.comm.start({&send, 1}, {}, "kv");
    rank.comm.barrier();
  });
  EXPECT_THAT(message, HasSubstr("gave up 'kv': send 64 bytes to rank 1"));
}

TEST(NcclFaults, SumsAreCarriedInFp32) {
  Fleet fleet(1);
  const std::string message = fleet.run(60'000, [](const DeviceRank& rank) {
    void* memory = rank.runtime.allocate(64);
    rank.comm.all_reduce(Tensor(memory, DType::kBF16, {16}, Device::kCuda), ReduceOp::kSum);
  });
  EXPECT_THAT(message, HasSubstr("bf16"));
}

}  // namespace
}  // namespace longspan::testing
