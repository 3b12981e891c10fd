#include "parallel/comm/tcp/tcp_rendezvous.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <sstream>

#include "kernels/core/error.h"

namespace longspan {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kMagic = 0x316e617073676e6c;  // changes with what follows it
enum class Purpose : std::int32_t { kJoin, kData, kControl };

// The first words on every connection.
struct Hello {
  std::uint64_t magic = kMagic;
  Purpose purpose = Purpose::kJoin;
  std::int32_t rank = 0;
  std::int32_t size = 0;
  std::int32_t port = 0;  // kJoin: where this rank listens
};

// What rank 0 answers to a join: a table of ranks, or why there is none.
struct Reply {
  std::uint64_t magic = kMagic;
  std::int32_t kind = -1;  // of ErrorKind; -1: the table
  std::int32_t num_bytes = 0;
};

// Somebody else may find the port too: what does not say the magic word, and soon, is let go.
std::optional<Hello> hear(const TcpSocket& socket, TcpDeadline deadline) {
  Hello hello;
  const TcpDeadline soon = std::min(deadline, Clock::now() + std::chrono::seconds(5));
  if (!read_all(socket, &hello, sizeof hello, soon) || hello.magic != kMagic) return std::nullopt;
  return hello;
}

bool answer(const TcpSocket& socket, std::int32_t kind, const std::string& text, TcpDeadline deadline) {
  const Reply reply{.kind = kind, .num_bytes = static_cast<std::int32_t>(text.size())};
  return write_all(socket, &reply, sizeof reply, deadline) && write_all(socket, text.data(), reply.num_bytes, deadline);
}

class Rendezvous {
 public:
  Rendezvous(const TcpPlace& place, const CommOptions& options)
      : place_(place),
        timeout_ms_(options.timeout_ms),
        deadline_(Clock::now() + std::chrono::milliseconds(options.timeout_ms)) {}

  std::vector<TcpPeer> run() {
    listener_ = listen_on_tcp(place_.rank == 0 ? place_.port : 0);
    addresses_.resize(static_cast<std::size_t>(place_.size));
    addresses_[0] = {place_.address, place_.port};
    if (place_.rank == 0)
      gather();
    else
      join();
    return connect_all();
  }

 private:
  // Rank 0. Everybody who has come learns the outcome.
  void gather() {
    std::vector<TcpSocket> guests(static_cast<std::size_t>(place_.size));
    try {
      for (int missing = place_.size - 1; missing > 0; --missing) admit(guests);
    } catch (const Error& error) {
      refuse_all(guests, error);
      throw;
    }
    std::string table;
    for (const TcpAddress& address : addresses_) table += fmt::format("{} {}\n", address.host, address.port);
    for (int r = 1; r < place_.size; ++r)
      LS_REQUIRE(kEnvironment, answer(guests[static_cast<std::size_t>(r)], -1, table, deadline_),
                 "rank {} came to rank 0 and went away before all ranks had come", r);
  }

  // Also those who come a moment later: they would try until their deadline.
  void refuse_all(const std::vector<TcpSocket>& guests, const Error& error) const {
    const TcpDeadline soon = Clock::now() + std::chrono::seconds(2);
    const auto kind = static_cast<std::int32_t>(error.kind());
    auto num_missing = place_.size - 1;
    for (const TcpSocket& guest : guests)
      if (guest && answer(guest, kind, error.what(), soon)) --num_missing;
    if (error.kind() == ErrorKind::kUsage) --num_missing;  // the one that was refused
    while (num_missing-- > 0) {
      const TcpSocket late = accept_tcp(listener_, soon);
      if (!late) return;
      if (hear(late, soon)) answer(late, kind, error.what(), soon);
    }
  }

  // Waits for one more rank.
  void admit(std::vector<TcpSocket>& guests) {
    while (true) {
      TcpSocket socket = accept_tcp(listener_, deadline_);
      LS_REQUIRE(kEnvironment, socket,
                 "waited {} ms for {} of {} ranks to come to port {} of rank 0; were they started?", timeout_ms_,
                 missing_of(guests), place_.size, place_.port);
      const std::optional<Hello> hello = hear(socket, deadline_);
      if (!hello || hello->purpose != Purpose::kJoin) continue;
      if (const std::string fault = fault_of(*hello, guests); !fault.empty()) {
        answer(socket, static_cast<std::int32_t>(ErrorKind::kUsage), fault, deadline_);
        fail(ErrorKind::kUsage, "{}", fault);
      }
      addresses_[static_cast<std::size_t>(hello->rank)] = {host_of_peer(socket), hello->port};
      guests[static_cast<std::size_t>(hello->rank)] = std::move(socket);
      return;
    }
  }

  std::string fault_of(const Hello& hello, const std::vector<TcpSocket>& guests) const {
    if (hello.size != place_.size)
      return fmt::format("rank {} was told of {} ranks, rank 0 of {}; start all with the same WORLD_SIZE", hello.rank,
                         hello.size, place_.size);
    if (hello.rank < 1 || hello.rank >= place_.size || guests[static_cast<std::size_t>(hello.rank)])
      return fmt::format("two processes call themselves rank {}; RANK must differ", hello.rank);
    return "";
  }

  static std::string missing_of(const std::vector<TcpSocket>& guests) {
    std::string text;
    for (std::size_t r = 1; r < guests.size(); ++r)
      if (!guests[r]) text += fmt::format("{}{}", text.empty() ? "rank " : ", ", r);
    return text;
  }

  // The other ranks.
  void join() {
    TcpSocket socket = [&] {
      try {
        return connect_to_tcp(addresses_[0], deadline_);
      } catch (const Error& error) {
        fail(error.kind(), "waited {} ms for rank 0: {}; was it started, and is MASTER_PORT its port?", timeout_ms_,
             error.what());
      }
    }();
    const Hello hello{.rank = place_.rank, .size = place_.size, .port = port_of(listener_)};
    Reply reply{.magic = 0};
    const TcpDeadline a_little_later = deadline_ + std::chrono::seconds(2);  // rank 0 says what it waited for
    const bool answered =
        write_all(socket, &hello, sizeof hello, deadline_) && read_all(socket, &reply, sizeof reply, a_little_later);
    LS_REQUIRE(kEnvironment, answered && reply.magic == kMagic && reply.num_bytes >= 0,
               "what listens at {} is not rank 0 of this run, or it has ended; give another MASTER_PORT",
               addresses_[0].describe());
    std::string text(static_cast<std::size_t>(reply.num_bytes), ' ');
    LS_REQUIRE(kEnvironment, read_all(socket, text.data(), reply.num_bytes, a_little_later),
               "rank 0 ended while ranks were meeting");
    if (reply.kind >= 0) throw Error(static_cast<ErrorKind>(reply.kind), text);
    read_table(text, host_of_peer(socket));
  }

  // A rank that rank 0 saw on its own host is, for others, where they found rank 0.
  void read_table(const std::string& table, const std::string& host_of_rank_0) {
    std::istringstream lines(table);
    for (TcpAddress& address : addresses_) {
      lines >> address.host >> address.port;
      if (is_loopback(address.host)) address.host = host_of_rank_0;
    }
    addresses_[0] = {host_of_rank_0, place_.port};
  }

  // Each rank calls those below it; those above it call.
  std::vector<TcpPeer> connect_all() {
    std::vector<TcpPeer> peers(static_cast<std::size_t>(place_.size));
    for (int r = 0; r < place_.rank; ++r)
      for (const Purpose purpose : {Purpose::kData, Purpose::kControl}) {
        TcpSocket socket = connect_to_tcp(addresses_[static_cast<std::size_t>(r)], deadline_);
        const Hello hello{.purpose = purpose, .rank = place_.rank, .size = place_.size};
        LS_REQUIRE(kEnvironment, write_all(socket, &hello, sizeof hello, deadline_), "rank {} ended while ranks met",
                   r);
        end_of(peers[static_cast<std::size_t>(r)], purpose) = std::move(socket);
      }
    for (int missing = 2 * (place_.size - 1 - place_.rank); missing > 0;) {
      TcpSocket socket = accept_tcp(listener_, deadline_);
      LS_REQUIRE(kEnvironment, socket, "waited {} ms for ranks above {} to connect; can hosts reach each other?",
                 timeout_ms_, place_.rank);
      const std::optional<Hello> hello = hear(socket, deadline_);
      if (!hello || hello->purpose == Purpose::kJoin || hello->rank <= place_.rank || hello->rank >= place_.size)
        continue;
      end_of(peers[static_cast<std::size_t>(hello->rank)], hello->purpose) = std::move(socket);
      --missing;
    }
    return peers;
  }

  static TcpSocket& end_of(TcpPeer& peer, Purpose purpose) {
    return purpose == Purpose::kData ? peer.data : peer.control;
  }

  const TcpPlace& place_;
  const std::int64_t timeout_ms_;
  const TcpDeadline deadline_;
  TcpSocket listener_;
  std::vector<TcpAddress> addresses_;
};

}  // namespace

std::vector<TcpPeer> meet_over_tcp(const TcpPlace& place, const CommOptions& options) {
  return Rendezvous(place, options).run();
}

}  // namespace longspan
