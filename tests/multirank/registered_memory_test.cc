// Memory that NCCL is told of: once a communicator, on all ranks or none, gone before what it belongs to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <optional>

#include "kernels/core/log.h"
#include "parallel/comm/registered_arenas.h"
#include "tests/multirank/nccl_fleet.h"

namespace longspan::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kBytes = 4096;
using Room = RegisteredArenas::Room;

// What the libraries said while it lives.
class Said {
 public:
  Said() {
    set_log_sink([this](LogLevel, const std::string& message) {
      const std::lock_guard lock(mutex_);
      messages.push_back(message);
    });
  }
  ~Said() { set_log_sink(nullptr); }
  std::vector<std::string> messages;

 private:
  std::mutex mutex_;
};

// Each rank's memory, from its first byte on, to the next rank's, from `to` on.
void send_round(const DeviceRank& rank, Communicator& comm, std::byte* from, std::byte* to) {
  const int next = (comm.rank() + 1) % comm.size(), before = (comm.rank() + comm.size() - 1) % comm.size();
  const int sent = 100 + comm.rank();
  rank.runtime.copy(rank.compute, from, &sent, sizeof sent);
  rank.runtime.synchronize(rank.compute);  // a lazy device would read it later, and a failing rank has left by then
  const Send send{next, from, sizeof sent, Device::kCuda};
  const Receive receive{before, to, sizeof sent, Device::kCuda};
  comm.start({&send, 1}, {&receive, 1}, "round")->wait();
  int received = 0;
  rank.runtime.copy(rank.compute, &received, to, sizeof received);
  rank.runtime.synchronize(rank.compute);
  expect(received == 100 + before, "what the rank before sent");
}

void expect_all_gone(const FakeNccl::Board& board) {
  EXPECT_EQ(board.num_registered, 0);
  EXPECT_EQ(board.num_late, 0);
  EXPECT_EQ(board.num_mixed, 0);
}

TEST(RegisteredMemory, IsKnownOnceToEachCommunicator) {
  Fleet fleet(3);
  const std::string message = fleet.run(60'000, [&](const DeviceRank& rank) {
    Arena arena("rows", kBytes, rank.runtime);
    auto* memory = static_cast<std::byte*>(arena.base());
    const auto known = rank.comm.register_memory(memory, kBytes);
    expect(known != nullptr, "a registration");
    const auto part = rank.comm.split(0, -rank.comm.rank());
    const auto known_to_part = part->register_memory(memory, kBytes);
    expect(known_to_part != nullptr, "a registration of the part");
    send_round(rank, rank.comm, memory, memory + 64);
    send_round(rank, *part, memory, memory + 64);
    rank.comm.barrier();
    expect(fleet.board.num_registered == 6, "two registrations a rank");
    rank.comm.barrier();
  });
  EXPECT_EQ(message, "");
  EXPECT_EQ(fleet.board.num_registrations, 6);
  expect_all_gone(fleet.board);
}

TEST(RegisteredMemory, RefusedByOneRankIsRegisteredByNone) {
  Fleet fleet(3);
  fleet.board.refuses = [](int rank, const void*) { return rank == 1; };
  Said said;
  const std::string message = fleet.run(60'000, [&](const DeviceRank& rank) {
    Arena arena("rows", kBytes, rank.runtime);
    auto* memory = static_cast<std::byte*>(arena.base());
    for (int attempt = 0; attempt < 2; ++attempt) {
      const auto known = rank.comm.register_memory(memory, kBytes);
      expect(known == nullptr, "no registration");
      send_round(rank, rank.comm, memory, memory + 64);
    }
  });
  EXPECT_EQ(message, "");
  EXPECT_EQ(fleet.board.num_registrations, 4);
  expect_all_gone(fleet.board);
  EXPECT_THAT(said.messages, ElementsAre(HasSubstr("rank 1 refused: no room in the card's tables")));
}

TEST(RegisteredMemory, OfARankAloneIsNotRegistered) {
  Fleet fleet(1);
  const std::string message = fleet.run(60'000, [&](const DeviceRank& rank) {
    Arena arena("rows", kBytes, rank.runtime);
    expect(rank.comm.register_memory(arena.base(), kBytes) == nullptr, "no registration");
  });
  EXPECT_EQ(message, "");
  EXPECT_EQ(fleet.board.num_registrations, 0);
}

// The communicators end before the memory goes, and nothing is asked of them after that.
TEST(RegisteredMemory, GoesWithAFailingRank) {
  Fleet fleet(3);
  const std::string message = fleet.run(60'000, [&](const DeviceRank& rank) {
    Arena arena("rows", kBytes, rank.runtime);
    auto* memory = static_cast<std::byte*>(arena.base());
    const auto known = rank.comm.register_memory(memory, kBytes);
    if (rank.comm.rank() == 2) fail(ErrorKind::kData, "tokens.h5: torn");
    send_round(rank, rank.comm, memory, memory + 64);
  });
  EXPECT_EQ(message, "rank 2: tokens.h5: torn");
  EXPECT_EQ(fleet.board.num_aborted, 3);
  expect_all_gone(fleet.board);
}

TEST(RegisteredArenas, AreMadeAnewByAllRanksWhereOneLacksRoom) {
  Fleet fleet(3);
  const std::string message = fleet.run(60'000, [&](const DeviceRank& rank) {
    std::optional<Arena> rows(std::in_place, "rows", kBytes, rank.runtime);
    Arena workspace("workspace", kBytes, rank.runtime);
    RegisteredArenas arenas(rank.comm, {&*rows, &workspace});
    const auto send_between = [&] {
      send_round(rank, rank.comm, static_cast<std::byte*>(rows->base()), static_cast<std::byte*>(workspace.base()));
    };
    expect(arenas.are_registered(), "registrations");
    send_between();
    expect(arenas.of_any_rank(Room::kEnough) == Room::kEnough, "room on all ranks");
    expect(arenas.of_any_rank(rank.comm.rank() == 1 ? Room::kLacking : Room::kEnough) == Room::kLacking, "no room");
    arenas.drop();
    if (rank.comm.rank() == 1) {
      rows.reset();
      rows.emplace("rows", 2 * kBytes, rank.runtime);
    }
    arenas.replace({&*rows, &workspace});
    expect(arenas.are_registered(), "registrations again");
    send_between();
  });
  EXPECT_EQ(message, "");
  EXPECT_EQ(fleet.board.num_registrations, 12);
  expect_all_gone(fleet.board);
}

// Rank 1's workspace is refused, and with it everything; from then on a rank that lacks room asks nobody.
TEST(RegisteredArenas, AreAllRegisteredOrNone) {
  Fleet fleet(2);
  std::atomic<const void*> refused = nullptr;
  fleet.board.refuses = [&](int, const void* data) { return data == refused; };
  const std::string message = fleet.run(60'000, [&](const DeviceRank& rank) {
    Arena rows("rows", kBytes, rank.runtime), workspace("workspace", kBytes, rank.runtime);
    if (rank.comm.rank() == 1) refused = workspace.base();
    RegisteredArenas arenas(rank.comm, {&rows, &workspace});
    expect(!arenas.are_registered(), "no registration");
    if (rank.comm.rank() == 1) {
      expect(arenas.of_any_rank(Room::kLacking) == Room::kLacking, "its own answer");
      arenas.drop();
      arenas.replace({&rows, &workspace});
    }
    send_round(rank, rank.comm, static_cast<std::byte*>(rows.base()), static_cast<std::byte*>(workspace.base()));
  });
  EXPECT_EQ(message, "");
  EXPECT_EQ(fleet.board.num_registrations, 3);
  expect_all_gone(fleet.board);
}

}  // namespace
}  // namespace longspan::testing
