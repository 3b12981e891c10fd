// LocalTransfers: sends and receives between threads, matched in order and copied straight from buffer to buffer.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/comm/exchange_communicator.h"
#include "parallel/comm/local_world.h"
#include "parallel/comm/wait_text.h"

namespace longspan {

// One side of a transfer. Lives in its LocalTransfers; linked into a queue until its other side comes.
struct LocalTransfer {
  enum class State : std::uint8_t { kPosted, kMatched, kCopying, kDone };

  Direction direction;
  int peer;            // in the group
  const void* source;  // of a send
  void* target;        // of a receive
  std::int64_t num_bytes;
  LocalTransfers* owner;
  State state = State::kPosted;
  LocalTransfer* other = nullptr;  // the matched side
  LocalTransfer* next = nullptr;   // in the queue
};

// Transfers from one sender to one receiver that wait for their other side, oldest first: all sends or all receives.
struct LocalQueue {
  LocalTransfer* head = nullptr;
  LocalTransfer* tail = nullptr;
};

// A set of ranks and the queues between them.
class LocalGroup {
 public:
  LocalGroup(LocalWorld& world, std::int64_t id, std::vector<int> world_ranks);

  LocalWorld& world() { return world_; }
  std::int64_t id() const { return id_; }
  int size() const { return static_cast<int>(world_ranks_.size()); }
  int world_rank(int rank) const { return world_ranks_[rank]; }
  LocalQueue& queue(Channel channel, int sender, int receiver) {
    return queues_[static_cast<int>(channel)][sender * size() + receiver];
  }

 private:
  LocalWorld& world_;
  const std::int64_t id_;
  const std::vector<int> world_ranks_;
  std::array<std::vector<LocalQueue>, kNumChannels> queues_;
};

// Whoever of the two ranks waits or tests first copies; a rank that computes is never needed for its peer's progress.
class LocalTransfers final : public PendingTransfers {
 public:
  LocalTransfers(LocalGroup& group, int rank, Channel channel, std::span<const Send> sends,
                 std::span<const Receive> receives, std::string_view what);
  ~LocalTransfers() override;
  bool test() override;
  void wait() override;

  int world_rank() const { return group_.world_rank(rank_); }
  // These three need the world's mutex.
  std::string describe() const;
  std::string describe_with_time() const;
  void wake() { changed_.notify_all(); }

 private:
  using Lock = std::unique_lock<std::mutex>;
  void match(Channel channel, LocalTransfer& mine);
  void copy_matched(Lock& lock);
  void throw_if_aborted(Lock& lock);
  void leave_copies(Lock& lock);
  bool peer_copies() const;
  bool is_stuck() const;

  LocalGroup& group_;
  LocalWorld& world_;
  const int rank_;
  const std::string what_;
  std::vector<LocalTransfer> transfers_;  // never grows: queues point into it
  std::size_t num_open_ = 0;
  std::condition_variable changed_;
  std::chrono::steady_clock::time_point wait_began_;
};

}  // namespace longspan
