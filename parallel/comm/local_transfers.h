// LocalTransfers: sends and receives between threads, matched in order and copied straight from buffer to buffer, by
// the host or by the device of the rank that copies.
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
  Device device;  // whose memory source or target is
  LocalTransfers* owner;
  State state = State::kPosted;
  LocalTransfer* other = nullptr;  // the matched side
  LocalTransfer* next = nullptr;   // in the queue
  // kDone of a copy by a device: it is queued, and done once this is reached. Shared with the other side.
  std::shared_ptr<DeviceEvent> copied = nullptr;
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
// Where a buffer is a device's, that rank queues the copy on its own transfer stream, behind marks that both ranks made
// in their compute streams when they posted, and both ranks' compute streams are held back by a mark behind the copy.
class LocalTransfers final : public PendingTransfers {
 public:
  LocalTransfers(LocalGroup& group, int rank, std::shared_ptr<CommDevice> device, Channel channel,
                 std::span<const Send> sends, std::span<const Receive> receives, std::string_view what);
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
  // Null: the copy is done. Otherwise it is once the mark is reached.
  std::shared_ptr<DeviceEvent> copy(const LocalTransfer& from, const LocalTransfer& to) const;
  // Made by the host, or queued on a device.
  void wait_for_copies();
  // Buffers are this rank's again: for the host, and for what its compute stream is given from now on.
  void settle();
  void throw_if_aborted(Lock& lock);
  void leave_copies(Lock& lock);
  bool peer_copies() const;
  bool is_stuck() const;
  bool copies_are_done() const;

  LocalGroup& group_;
  LocalWorld& world_;
  const int rank_;
  const std::shared_ptr<CommDevice> device_;
  const std::string what_;
  std::vector<LocalTransfer> transfers_;  // never grows: queues point into it
  std::size_t num_open_ = 0;
  std::shared_ptr<DeviceEvent> ready_;  // where this rank's compute stream stood; null: no buffer is a device's
  bool settled_ = false;
  std::condition_variable changed_;
  std::chrono::steady_clock::time_point wait_began_;
};

}  // namespace longspan
