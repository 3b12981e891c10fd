#include "parallel/comm/tcp/tcp_communicator.h"

#include <algorithm>
#include <numeric>

#include "kernels/core/error.h"
#include "parallel/comm/patience.h"

namespace longspan {
namespace {

class TcpTransfers final : public PendingTransfers {
 public:
  TcpTransfers(TcpWorld& world, std::string_view what, std::size_t num_transfers) : world_(world), what_(what) {
    transfers_.reserve(num_transfers);  // the world points into it
    throw_if_aborted();
  }

  ~TcpTransfers() override {
    if (!done_) world_.abort(fmt::format("gave up {}", describe()));
  }

  void receive(const TcpLane& lane, const Receive& receive) {
    transfers_.push_back({lane, static_cast<std::byte*>(receive.data), receive.num_bytes, what_});
    is_send_.push_back(false);
    guarded([&] { world_.receive(transfers_.back()); });
  }

  void send(const TcpLane& lane, const Send& send) {
    // Only read.
    auto* data = const_cast<std::byte*>(static_cast<const std::byte*>(send.data));
    transfers_.push_back({lane, data, send.num_bytes, what_});
    is_send_.push_back(true);
    guarded([&] { world_.send(transfers_.back()); });
  }

  bool test() override { return look(0); }

  void wait() override {
    Patience patience(world_.options().timeout_ms);
    while (!look(50)) {
      if (!patience.is_over()) continue;
      const std::string reason = fmt::format("waited {} ms for {}", world_.options().timeout_ms, describe());
      world_.abort(reason);
      done_ = true;
      throw Error(ErrorKind::kAborted, reason);
    }
  }

 private:
  // What this rank finds wrong itself is for all to know.
  template <class Body>
  void guarded(Body body) {
    try {
      body();
    } catch (const Error& error) {
      world_.abort(error.what());
      done_ = true;
      throw;
    }
  }

  bool look(int timeout_ms) {
    throw_if_aborted();
    done_ = done_ || all_done();
    if (done_) return true;
    guarded([&] { world_.progress(timeout_ms); });
    done_ = all_done();
    return done_;
  }

  bool all_done() const {
    return std::all_of(transfers_.begin(), transfers_.end(), [](const TcpTransfer& t) { return t.done; });
  }

  void throw_if_aborted() {
    if (!world_.aborted()) return;
    const Error error(ErrorKind::kAborted, fmt::format("{} was ended: {}", describe(), world_.abort_reason()));
    done_ = true;
    throw error;
  }

  std::string describe() const {
    std::vector<OpenTransfer> open;
    for (std::size_t i = 0; i < transfers_.size(); ++i)
      if (const TcpTransfer& t = transfers_[i]; !t.done)
        open.push_back({is_send_[i] ? Direction::kSend : Direction::kReceive, t.lane.world_rank, t.num_bytes});
    return describe_wait(what_, open);
  }

  TcpWorld& world_;
  const std::string what_;
  std::vector<TcpTransfer> transfers_;
  std::vector<bool> is_send_;
  bool done_ = false;
};

// A number for a part of a group, alike on all its ranks; two parts of a world share one with a chance of 2^-64.
std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a * 0x9e3779b97f4a7c15 + b + 1;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::vector<int> all_ranks(int size) {
  std::vector<int> ranks(static_cast<std::size_t>(size));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

}  // namespace

TcpCommunicator::TcpCommunicator(TcpWorld& world) : TcpCommunicator(world, 0, world.rank(), all_ranks(world.size())) {}

TcpCommunicator::TcpCommunicator(TcpWorld& world, std::uint64_t group, int rank, std::vector<int> world_ranks)
    : world_(world), group_(group), rank_(rank), world_ranks_(std::move(world_ranks)) {}

std::string TcpCommunicator::abort_reason() {
  world_.listen_for_aborts();
  return world_.abort_reason();
}

std::unique_ptr<PendingTransfers> TcpCommunicator::post(Channel channel, std::span<const Send> sends,
                                                        std::span<const Receive> receives, std::string_view what) {
  auto transfers = std::make_unique<TcpTransfers>(world_, what, sends.size() + receives.size());
  const auto lane = [&](int peer) {
    return TcpLane{group_, static_cast<std::int32_t>(channel), world_ranks_[static_cast<std::size_t>(peer)]};
  };
  for (const Receive& receive : receives) transfers->receive(lane(receive.peer), receive);
  for (const Send& send : sends) transfers->send(lane(send.peer), send);
  return transfers;
}

std::unique_ptr<ExchangeCommunicator> TcpCommunicator::divide(int color, int key) {
  LS_CHECK(color >= 0, "split with colour {}", color);
  const std::vector<int> members = members_of_split(*this, color, key);
  std::vector<int> world_ranks;
  for (const int member : members) world_ranks.push_back(world_ranks_[static_cast<std::size_t>(member)]);
  const auto place = std::find(members.begin(), members.end(), rank_) - members.begin();
  const std::uint64_t group = mixed(mixed(group_, num_splits_++), static_cast<std::uint64_t>(color));
  return std::make_unique<TcpCommunicator>(world_, group, static_cast<int>(place), std::move(world_ranks));
}

void run_tcp_rank(const TcpPlace& place, const CommOptions& options, const std::function<void(Communicator&)>& body) {
  LS_REQUIRE(kUsage, place.size >= 1 && place.rank >= 0 && place.rank < place.size,
             "rank {} of {} ranks (RANK, WORLD_SIZE)", place.rank, place.size);
  TcpWorld world(place, options);
  try {
    TcpCommunicator communicator(world);
    body(communicator);
    communicator.barrier();  // nobody leaves while others may still wait for it
    LS_REQUIRE(kAborted, !world.aborted(), "{}", world.abort_reason());
  } catch (const std::exception& error) {
    world.abort(error.what());
    throw;
  } catch (...) {
    world.abort("an exception of unknown type");
    throw;
  }
  world.say_goodbye();
}

}  // namespace longspan
