// TcpWorld: what the communicators of a process share: its connections, messages under way, and the abort.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/comm/tcp/tcp_rendezvous.h"
#include "parallel/comm/wait_text.h"

namespace longspan {

// Messages of one group and kind from one rank to another keep their order.
struct TcpLane {
  std::uint64_t group;
  std::int32_t channel;
  int world_rank;  // the other end
  auto operator<=>(const TcpLane&) const = default;
};

// A send or receive under way; its owner keeps it in place until it is done.
struct TcpTransfer {
  TcpLane lane;
  std::byte* data;
  std::int64_t num_bytes;
  std::string_view what;
  bool done = false;
};

// Messages move while this rank's thread looks: progress(). Messages that come before they are expected are kept aside.
// Only abort() and listen_for_aborts() may be called from other threads.
class TcpWorld {
 public:
  TcpWorld(const TcpPlace& place, const CommOptions& options);

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(peers_.size()); }
  const CommOptions& options() const { return options_; }

  // Throw Error(kInternal) where the sizes of the two ends differ.
  void send(TcpTransfer& transfer);
  void receive(TcpTransfer& transfer);
  // Moves what can be moved; where that is nothing, waits for so long that something can.
  void progress(int timeout_ms);

  // The first one counts, of whatever rank. Tells the other ranks, unless it was they who told.
  void abort(const std::string& reason) noexcept;
  bool aborted() const { return aborted_.load(std::memory_order_acquire); }
  std::string abort_reason() const;
  // Takes word of failures, and notices ranks that ended without a word.
  void listen_for_aborts();
  // This rank has done what the others wait for and is about to end.
  void say_goodbye() noexcept;

 private:
  struct Header {
    std::uint64_t magic;
    std::uint64_t group;
    std::int64_t num_bytes;
    std::int32_t channel;
    std::int32_t unused;
  };
  // A message that is here, or on its way here, and that nobody had asked for when it began.
  struct Unexpected {
    std::vector<std::byte> bytes;
    bool complete = false;
    TcpTransfer* wanted_by = nullptr;
  };
  struct Lane {
    std::deque<TcpTransfer*> wanted;
    std::list<Unexpected> unexpected;
  };
  struct Outgoing {
    Header header;
    TcpTransfer* transfer;
    std::int64_t num_written = 0;  // header included
  };
  struct Peer {
    TcpPeer sockets;
    std::deque<Outgoing> outgoing;
    // What is being read.
    Header header;
    std::int64_t header_bytes = 0;
    std::byte* body = nullptr;
    std::int64_t body_left = 0;
    TcpTransfer* into = nullptr;
    Unexpected* aside = nullptr;
    bool data_ended = false;
    // Guarded by mutex_.
    std::string words;  // of the control connection
    bool control_ended = false;
  };

  void write_to(Peer& peer);
  void read_from(int world_rank);
  void begin_message(int world_rank);
  void end_message(Peer& peer);
  void take_words(int world_rank);
  void abort_locked(const std::string& reason, bool tell_others) noexcept;
  [[noreturn]] void fail_with_sizes(const TcpTransfer& receive, std::int64_t num_sent);

  const CommOptions options_;
  const int rank_;
  std::vector<Peer> peers_;
  std::map<TcpLane, Lane> lanes_;
  TcpSocket wake_;  // readable once this rank has aborted
  mutable std::mutex mutex_;
  std::string reason_;
  std::atomic<bool> aborted_ = false;
};

}  // namespace longspan
