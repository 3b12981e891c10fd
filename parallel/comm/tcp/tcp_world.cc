#include "parallel/comm/tcp/tcp_world.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kernels/core/error.h"

namespace longspan {
namespace {

constexpr std::uint64_t kMagic = 0x6d617073676e6c31;
constexpr std::size_t kMaxReason = 8 << 10;  // fits a socket's own memory: telling it never waits
// Control messages: a letter, the text, an end of text.
constexpr char kAbort = 'A', kGoodbye = 'G', kEnd = '\0';

bool is_over(ssize_t count) {
  return count == 0 || (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

}  // namespace

TcpWorld::TcpWorld(const TcpPlace& place, const CommOptions& options)
    : options_(options), rank_(place.rank), wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  for (TcpPeer& sockets : meet_over_tcp(place, options)) peers_.emplace_back().sockets = std::move(sockets);
}

void TcpWorld::send(TcpTransfer& transfer) {
  const Header header{kMagic, transfer.lane.group, transfer.num_bytes, transfer.lane.channel, 0};
  if (transfer.lane.world_rank != rank_) {
    Peer& peer = peers_[static_cast<std::size_t>(transfer.lane.world_rank)];
    peer.outgoing.push_back({header, &transfer});
    if (peer.outgoing.size() == 1) write_to(peer);
    return;
  }
  // To itself: it arrives at once.
  Peer& self = peers_[static_cast<std::size_t>(rank_)];
  self.header = header;
  begin_message(rank_);
  if (transfer.num_bytes > 0) std::memcpy(self.body, transfer.data, static_cast<std::size_t>(transfer.num_bytes));
  end_message(self);
  transfer.done = true;
}

void TcpWorld::receive(TcpTransfer& transfer) {
  Lane& lane = lanes_[transfer.lane];
  const auto first =
      std::find_if(lane.unexpected.begin(), lane.unexpected.end(), [](const Unexpected& u) { return !u.wanted_by; });
  if (first == lane.unexpected.end()) {
    lane.wanted.push_back(&transfer);
    return;
  }
  const auto num_bytes = static_cast<std::int64_t>(first->bytes.size());
  if (num_bytes != transfer.num_bytes) fail_with_sizes(transfer, num_bytes);
  first->wanted_by = &transfer;
  if (!first->complete) return;
  if (num_bytes > 0) std::memcpy(transfer.data, first->bytes.data(), first->bytes.size());
  transfer.done = true;
  lane.unexpected.erase(first);
}

void TcpWorld::progress(int timeout_ms) {
  std::vector<pollfd> polled;
  std::vector<int> ranks;
  for (int r = 0; r < size(); ++r) {
    Peer& peer = peers_[static_cast<std::size_t>(r)];
    if (r == rank_ || peer.data_ended) continue;
    if (!peer.outgoing.empty()) write_to(peer);
    const short events = peer.outgoing.empty() ? POLLIN : POLLIN | POLLOUT;
    polled.push_back({peer.sockets.data.handle(), events, 0});
    ranks.push_back(r);
  }
  const std::size_t num_data = polled.size();
  for (int r = 0; r < size(); ++r)
    if (r != rank_ && !peers_[static_cast<std::size_t>(r)].control_ended)
      polled.push_back({peers_[static_cast<std::size_t>(r)].sockets.control.handle(), POLLIN, 0});
  polled.push_back({wake_.handle(), POLLIN, 0});
  if (poll(polled.data(), polled.size(), timeout_ms) <= 0) return;
  // Data first: what a rank sent before it ended counts.
  for (std::size_t i = 0; i < num_data; ++i) {
    if ((polled[i].revents & POLLOUT) != 0) write_to(peers_[static_cast<std::size_t>(ranks[i])]);
    if ((polled[i].revents & ~POLLOUT) != 0) read_from(ranks[i]);
  }
  listen_for_aborts();
}

void TcpWorld::write_to(Peer& peer) {
  while (!peer.outgoing.empty()) {
    Outgoing& first = peer.outgoing.front();
    const std::int64_t header_done = std::min<std::int64_t>(first.num_written, sizeof(Header));
    const std::int64_t data_done = first.num_written - header_done;
    iovec parts[2] = {
        {reinterpret_cast<std::byte*>(&first.header) + header_done, sizeof(Header) - header_done},
        {first.transfer->data + data_done, static_cast<std::size_t>(first.transfer->num_bytes - data_done)}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    const ssize_t count = sendmsg(peer.sockets.data.handle(), &message, MSG_NOSIGNAL);
    if (count < 0) {
      peer.data_ended = peer.data_ended || is_over(count);  // why, the control connection tells
      return;
    }
    first.num_written += count;
    if (first.num_written < static_cast<std::int64_t>(sizeof(Header)) + first.transfer->num_bytes) return;
    first.transfer->done = true;
    peer.outgoing.pop_front();
  }
}

void TcpWorld::read_from(int world_rank) {
  Peer& peer = peers_[static_cast<std::size_t>(world_rank)];
  while (true) {
    const bool in_header = peer.header_bytes < static_cast<std::int64_t>(sizeof(Header));
    std::byte* target = in_header ? reinterpret_cast<std::byte*>(&peer.header) + peer.header_bytes : peer.body;
    const std::int64_t left =
        in_header ? static_cast<std::int64_t>(sizeof(Header)) - peer.header_bytes : peer.body_left;
    const ssize_t count = recv(peer.sockets.data.handle(), target, static_cast<std::size_t>(left), 0);
    if (count <= 0) {
      peer.data_ended = is_over(count);
      return;
    }
    if (in_header) {
      peer.header_bytes += count;
      if (peer.header_bytes < static_cast<std::int64_t>(sizeof(Header))) continue;
      begin_message(world_rank);
    } else {
      peer.body += count;
      peer.body_left -= count;
    }
    if (peer.body_left == 0) end_message(peer);
  }
}

void TcpWorld::begin_message(int world_rank) {
  Peer& peer = peers_[static_cast<std::size_t>(world_rank)];
  const Header& header = peer.header;
  LS_REQUIRE(kEnvironment, header.magic == kMagic, "what came from rank {} is no message of this program", world_rank);
  Lane& lane = lanes_[{header.group, header.channel, world_rank}];
  peer.body_left = header.num_bytes;
  if (!lane.wanted.empty()) {
    TcpTransfer& wanted = *lane.wanted.front();
    if (wanted.num_bytes != header.num_bytes) fail_with_sizes(wanted, header.num_bytes);
    lane.wanted.pop_front();
    peer.into = &wanted;
    peer.body = wanted.data;
    return;
  }
  peer.aside = &lane.unexpected.emplace_back();
  peer.aside->bytes.resize(static_cast<std::size_t>(header.num_bytes));
  peer.body = peer.aside->bytes.data();
}

void TcpWorld::end_message(Peer& peer) {
  if (peer.into) peer.into->done = true;
  if (peer.aside) {
    peer.aside->complete = true;
    if (TcpTransfer* wanted_by = peer.aside->wanted_by) {  // asked for while it was coming
      std::copy(peer.aside->bytes.begin(), peer.aside->bytes.end(), wanted_by->data);
      wanted_by->done = true;
      lanes_[wanted_by->lane].unexpected.remove_if([&](const Unexpected& u) { return &u == peer.aside; });
    }
  }
  peer.into = nullptr;
  peer.aside = nullptr;
  peer.header_bytes = 0;
  peer.body_left = 0;
}

void TcpWorld::fail_with_sizes(const TcpTransfer& receive, std::int64_t num_sent) {
  const OpenTransfer open{Direction::kReceive, receive.lane.world_rank, receive.num_bytes};
  fail(ErrorKind::kInternal, "{}, but it sent {} bytes: the ranks' calls differ in order or size",
       describe_wait(receive.what, {&open, 1}), num_sent);
}

void TcpWorld::abort(const std::string& reason) noexcept {
  const std::lock_guard lock(mutex_);
  abort_locked(reason, true);
}

void TcpWorld::abort_locked(const std::string& reason, bool tell_others) noexcept {
  if (aborted()) return;
  reason_ = reason;
  aborted_.store(true, std::memory_order_release);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t woken = ::write(wake_.handle(), &one, sizeof one);
  if (!tell_others) return;
  std::string words = kAbort + reason.substr(0, kMaxReason);
  words += kEnd;
  for (const Peer& peer : peers_)
    if (peer.sockets.control) ::send(peer.sockets.control.handle(), words.data(), words.size(), MSG_NOSIGNAL);
}

std::string TcpWorld::abort_reason() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

void TcpWorld::listen_for_aborts() {
  const std::lock_guard lock(mutex_);
  for (int r = 0; r < size(); ++r) take_words(r);
  // Only then: of ranks that fall one after another, the one that can say why is heard.
  for (int r = 0; r < size(); ++r) {
    const Peer& peer = peers_[static_cast<std::size_t>(r)];
    if (peer.control_ended && !peer.words.starts_with(kGoodbye))
      abort_locked(fmt::format("rank {} ended without saying why: it was killed, or its host cannot be reached", r),
                   true);
  }
}

void TcpWorld::take_words(int world_rank) {
  Peer& peer = peers_[static_cast<std::size_t>(world_rank)];
  char bytes[1024];
  while (peer.sockets.control && !peer.control_ended) {
    const ssize_t count = recv(peer.sockets.control.handle(), bytes, sizeof bytes, 0);
    if (count <= 0) {
      peer.control_ended = is_over(count);
      break;
    }
    peer.words.append(bytes, static_cast<std::size_t>(count));
  }
  if (peer.words.starts_with(kAbort) && peer.words.back() == kEnd)
    abort_locked(fmt::format("rank {} aborted: {}", world_rank, peer.words.c_str() + 1), false);
}

void TcpWorld::say_goodbye() noexcept {
  const std::lock_guard lock(mutex_);
  const char words[] = {kGoodbye, kEnd};
  for (const Peer& peer : peers_)
    if (peer.sockets.control) ::send(peer.sockets.control.handle(), words, sizeof words, MSG_NOSIGNAL);
}

}  // namespace longspan
