// What a failing, silent or disagreeing rank does to the others, on threads as ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <new>
#include <stdexcept>
#include <thread>

#include "tests/multirank/rank_bodies.h"
#include "tests/parallel/lazy_device.h"

namespace longspan::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome {
  ErrorKind kind = ErrorKind::kInternal;
  std::string message = "no exception";
};

Outcome outcome_of(int num_ranks, std::int64_t timeout_ms, const std::function<void(Communicator&)>& body) {
  try {
    run_local_ranks(num_ranks, {.timeout_ms = timeout_ms}, body);
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  }
  return {};
}

constexpr std::int64_t kShort = 200;
constexpr std::int64_t kLong = 60'000;

void receive_from(Communicator& comm, int peer, std::int64_t num_bytes, std::string_view what) {
  std::vector<char> bytes(num_bytes);
  const Receive receive{peer, bytes.data(), num_bytes};
  comm.start({}, {&receive, 1}, what)->wait();
}

TEST(LocalFaults, ASilentRankIsNamedWithEveryRanksWait) {
  std::atomic<int> num_ready = 0;
  std::atomic<bool> ended = false;
  const auto pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
  const Outcome outcome = outcome_of(4, kShort, [&](Communicator& comm) {
    ++num_ready;
    if (comm.rank() == 3) return;
    while (num_ready < 4) pause();
    if (comm.rank() == 1) {
      while (!ended) pause();  // computes
      return;
    }
    try {
      if (comm.rank() == 0) receive_from(comm, 3, 4096, "kv of step 3");
      if (comm.rank() == 2) receive_from(comm, 3, 10, "loss of step 3");
    } catch (const Error&) {
      ended = true;
      throw;
    }
  });
  EXPECT_EQ(outcome.kind, ErrorKind::kAborted);
  EXPECT_THAT(outcome.message, HasSubstr("waited 200 ms for "));
  EXPECT_THAT(outcome.message, HasSubstr("'kv of step 3': receive 4096 bytes from rank 3"));
  EXPECT_THAT(outcome.message, HasSubstr("\n  rank 1 waits for no rank"));
  EXPECT_THAT(outcome.message, HasSubstr("'loss of step 3': receive 10 bytes from rank 3"));
  EXPECT_THAT(outcome.message, HasSubstr("\n  rank 3 has finished"));
}

TEST(LocalFaults, AMissedCollectiveIsNamed) {
  const Outcome outcome = outcome_of(3, kShort, [](Communicator& comm) {
    std::vector<float> values(12);
    if (comm.rank() != 1) comm.all_reduce(tensor_of(values), ReduceOp::kSum);
  });
  EXPECT_EQ(outcome.kind, ErrorKind::kAborted);
  EXPECT_THAT(outcome.message, HasSubstr("'all_reduce of fp32[12]'"));
  EXPECT_THAT(outcome.message, HasSubstr("receive 16 bytes from rank 1"));
}

TEST(LocalFaults, RanksOfAGroupAreNamedByTheirPlaceInTheWorld) {
  const Outcome outcome = outcome_of(4, kShort, [](Communicator& comm) {
    const auto group = comm.split(comm.rank() / 2, comm.rank());
    if (comm.rank() == 2) receive_from(*group, 1, 8, "kv");
  });
  EXPECT_THAT(outcome.message, StartsWith("rank 2: waited 200 ms for 'kv': receive 8 bytes from rank 3"));
}

TEST(LocalFaults, AnExceptionEndsTheOthersAndIsTheOneRethrown) {
  std::array<std::string, 3> heard;
  const Outcome outcome = outcome_of(3, kLong, [&](Communicator& comm) {
    if (comm.rank() == 1) fail(ErrorKind::kData, "tokens.h5: torn");
    try {
      comm.barrier();
    } catch (const Error& error) {
      heard[comm.rank()] = error.what();
      EXPECT_EQ(error.kind(), ErrorKind::kAborted);
      throw;
    }
  });
  EXPECT_EQ(outcome.kind, ErrorKind::kData);
  EXPECT_EQ(outcome.message, "rank 1: tokens.h5: torn");
  for (const int r : {0, 2}) EXPECT_THAT(heard[r], AllOf(HasSubstr("'barrier'"), HasSubstr("tokens.h5: torn")));
}

TEST(LocalFaults, OtherExceptionsKeepTheirMeaning) {
  const auto throwing = [](auto exception) {
    return [exception](Communicator& comm) {
      if (comm.rank() == 0) throw exception;
      comm.barrier();
    };
  };
  const Outcome memory = outcome_of(2, kLong, throwing(std::bad_alloc()));
  EXPECT_EQ(memory.kind, ErrorKind::kMemory);
  EXPECT_THAT(memory.message, StartsWith("rank 0: "));
  const Outcome other = outcome_of(2, kLong, throwing(std::out_of_range("index 7")));
  EXPECT_EQ(other.kind, ErrorKind::kInternal);
  EXPECT_EQ(other.message, "rank 0: index 7");
  EXPECT_EQ(outcome_of(2, kLong, throwing(7)).message, "rank 0: an exception of unknown type");
}

TEST(LocalFaults, OneRankFailsAsIfItWereAlone) {
  const auto caller = std::this_thread::get_id();
  EXPECT_THROW(run_local_ranks(1, {},
                               [&](Communicator&) {
                                 EXPECT_EQ(std::this_thread::get_id(), caller);
                                 throw std::out_of_range("index 7");
                               }),
               std::out_of_range);
}

TEST(LocalFaults, AbortWakesEveryWait) {
  std::atomic<int> num_woken = 0;
  const Outcome outcome = outcome_of(4, kLong, [&](Communicator& comm) {
    if (comm.rank() == 2) {
      std::jthread watchdog([&] {
        comm.abort("the disk is full");
        comm.abort("said twice");
      });
      return;
    }
    try {
      receive_from(comm, 2, 100, "kv");
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("the disk is full"), HasSubstr("rank 2"), HasSubstr("'kv'")));
      ++num_woken;
    }
  });
  EXPECT_EQ(num_woken, 3);
  EXPECT_EQ(outcome.kind, ErrorKind::kAborted);  // though every body ended well
  EXPECT_EQ(outcome.message, "rank 2: the disk is full");
}

TEST(LocalFaults, NothingStartsAfterAnAbort) {
  const Outcome outcome = outcome_of(1, kLong, [](Communicator& comm) {
    comm.abort("enough");
    char byte = 0;
    const Send send{0, &byte, 1};
    EXPECT_THROW(comm.start({&send, 1}, {}, "late"), Error);
  });
  EXPECT_EQ(outcome.message, "rank 0: enough");
}

TEST(LocalFaults, SizesThatDifferAreNamed) {
  const Outcome outcome = outcome_of(2, kLong, [](Communicator& comm) {
    std::vector<char> bytes(100);
    const Send send{1, bytes.data(), 100};
    if (comm.rank() == 0) comm.start({&send, 1}, {}, "kv of step 1")->wait();
    if (comm.rank() == 1) receive_from(comm, 0, 80, "kv of step 2");
  });
  EXPECT_EQ(outcome.kind, ErrorKind::kInternal);
  EXPECT_THAT(outcome.message, AllOf(HasSubstr("'kv of step 1'"), HasSubstr("'kv of step 2'"), HasSubstr("100"),
                                     HasSubstr("80"), HasSubstr("order or size")));
}

TEST(LocalFaults, DroppedTransfersEndThePeer) {
  const Outcome outcome = outcome_of(2, kLong, [](Communicator& comm) {
    std::vector<char> bytes(100);
    const Send send{1, bytes.data(), 100};
    if (comm.rank() == 0) comm.start({&send, 1}, {}, "kv");
    if (comm.rank() == 1) comm.barrier();
  });
  EXPECT_EQ(outcome.kind, ErrorKind::kAborted);
  EXPECT_THAT(outcome.message, StartsWith("rank 0: gave up 'kv'"));
}

TEST(LocalFaults, AFailureBetweenStartAndWaitKeepsItsOwnMessage) {
  const Outcome outcome = outcome_of(2, kLong, [](Communicator& comm) {
    std::vector<char> bytes(100);
    const Receive receive{1 - comm.rank(), bytes.data(), 100};
    const auto pending = comm.start({}, {&receive, 1}, "kv");
    if (comm.rank() == 1) fail(ErrorKind::kMemory, "no room");
    pending->wait();
  });
  EXPECT_EQ(outcome.kind, ErrorKind::kMemory);
  EXPECT_EQ(outcome.message, "rank 1: no room");
}

// Buffers go out of scope the moment a rank fails, while its peers may be copying from them: nobody may touch them
// then. A sanitizer sees it if they do.
TEST(LocalFaults, BuffersOutliveTheCopiesOfAFailingRank) {
  for (int round = 0; round < 30; ++round) {
    const Outcome outcome = outcome_of(4, kLong, [round](Communicator& comm) {
      std::vector<std::vector<char>> out(4, std::vector<char>(200'000, 'x'));
      std::vector<std::vector<char>> in(4, std::vector<char>(200'000));
      std::vector<Send> sends;
      std::vector<Receive> receives;
      for (int peer = 0; peer < 4; ++peer) {
        sends.push_back({peer, out[peer].data(), 200'000});
        receives.push_back({peer, in[peer].data(), 200'000});
      }
      const auto pending = comm.start(sends, receives, "kv");
      if (comm.rank() == round % 4) fail(ErrorKind::kData, "failed");
      pending->wait();
      comm.barrier();
    });
    EXPECT_EQ(outcome.message, fmt::format("rank {}: failed", round % 4));
  }
}

TEST(LocalFaults, DeviceMemoryNeedsADevice) {
  const Outcome outcome = outcome_of(2, kLong, [](Communicator& comm) {
    float value = 0;
    comm.all_reduce(Tensor(&value, DType::kF32, {1}, Device::kCuda), ReduceOp::kSum);
  });
  EXPECT_EQ(outcome.kind, ErrorKind::kInternal);
  EXPECT_THAT(outcome.message, AllOf(HasSubstr("fp32[1]"), HasSubstr("use_device")));
}

// A rank that fails leaves its device memory only once no copy of a peer touches it.
TEST(LocalFaults, DeviceBuffersOutliveTheCopiesOfAFailingRank) {
  for (int round = 0; round < 8; ++round) {
    std::vector<LazyDevice> devices(3);
    const Outcome outcome = outcome_of(3, kLong, [&](Communicator& comm) {
      LazyDevice& device = devices[static_cast<std::size_t>(comm.rank())];
      const auto group = comm.split(0, comm.rank());
      group->use_device(device, device.make_stream(StreamUse::kCompute));
      // Gives memory back once all its streams hold is done, as devices do: copies that a wait() has ordered are among
      // it.
      const auto release = [&](void* memory) { device.release(memory, 100'000); };
      const std::unique_ptr<void, decltype(release)> out(device.allocate(100'000), release);
      const std::unique_ptr<void, decltype(release)> in(device.allocate(100'000), release);
      const Send send{(comm.rank() + 1) % 3, out.get(), 100'000, Device::kCuda};
      const Receive receive{(comm.rank() + 2) % 3, in.get(), 100'000, Device::kCuda};
      const auto pending = group->start({&send, 1}, {&receive, 1}, "kv");
      if (comm.rank() == round % 3) fail(ErrorKind::kData, "failed");
      pending->wait();
      comm.barrier();
    });
    EXPECT_EQ(outcome.message, fmt::format("rank {}: failed", round % 3));
  }
}

TEST(LocalFaults, BadCallsAreRefused) {
  EXPECT_EQ(outcome_of(0, kLong, [](Communicator&) {}).kind, ErrorKind::kUsage);
  run_local_ranks(1, {}, [](Communicator& comm) {
    char byte = 0;
    const Send nobody{1, &byte, 1};
    const Send negative{0, &byte, -1};
    EXPECT_THROW(comm.start({&nobody, 1}, {}, "x"), Error);
    EXPECT_THROW(comm.start({&negative, 1}, {}, "x"), Error);
    EXPECT_THROW(comm.split(-1, 0), Error);
    std::vector<float> three(3);
    std::vector<std::int32_t> ints(3);
    const std::vector<std::int64_t> counts = {3};
    EXPECT_THROW(comm.all_gather_v(tensor_of(three), tensor_of(ints), counts), Error);
    EXPECT_THROW(comm.all_gather_v(tensor_of(three), tensor_of(three), std::vector<std::int64_t>{2}), Error);
    EXPECT_THROW(comm.all_gather_v(tensor_of(three), tensor_of(three), std::vector<std::int64_t>{3, 0}), Error);
    EXPECT_THROW(comm.broadcast(tensor_of(three), 1), Error);
    std::vector<float> grid(4);
    const Tensor column = Tensor(grid.data(), DType::kF32, {2, 2}).narrow(1, 0, 1);
    EXPECT_THROW(comm.all_reduce(column, ReduceOp::kSum), Error);
  });
}

}  // namespace
}  // namespace longspan::testing
