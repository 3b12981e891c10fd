#include "parallel/comm/mpi_communicator.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <exception>
#include <mpi.h>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels/core/error.h"
#include "parallel/comm/exchange_communicator.h"
#include "parallel/comm/patience.h"
#include "parallel/comm/wait_text.h"

namespace longspan {
namespace {

std::string mpi_text(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return {text, static_cast<std::size_t>(length)};
}

// Short waits cost no sleep; long ones leave the core to ranks that compute (blocking inside MPI would spin).
class Backoff {
 public:
  void pause() {
    if (num_pauses_++ < kNumYields) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

 private:
  static constexpr int kNumYields = 500;
  int num_pauses_ = 0;
};

class MpiTransfers final : public PendingTransfers {
 public:
  MpiTransfers(MpiWorld& world, std::string_view what) : world_(world), what_(what) {}

  // The process is about to end: the requests are left to it.
  ~MpiTransfers() override {
    if (!done_) world_.abort(fmt::format("gave up {}", describe()));
  }

  // Adds the messages of one transfer, at least one, none longer than an MPI count. post(offset, num_bytes, request).
  template <class Post>
  void add(const OpenTransfer& transfer, const Post& post) {
    const std::int64_t limit = std::clamp<std::int64_t>(world_.options().max_message_bytes, 1, INT_MAX);
    std::int64_t begin = 0;
    do {
      const std::int64_t num_bytes = std::min(limit, transfer.num_bytes - begin);
      MPI_Request request = MPI_REQUEST_NULL;
      check_mpi(post(begin, static_cast<int>(num_bytes), &request), "posting a message");
      requests_.push_back(request);
      messages_.push_back({transfer.direction, transfer.world_rank, num_bytes});
      begin += num_bytes;
    } while (begin < transfer.num_bytes);
    done_ = false;
  }

  bool test() override {
    if (world_.aborted()) {
      fail_with(ErrorKind::kAborted, fmt::format("{} was ended: {}", describe(), world_.abort_reason()));
    }
    if (done_) return true;
    int all_done = 0;
    statuses_.resize(requests_.size());
    const int code = MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &all_done, statuses_.data());
    if (code != MPI_SUCCESS) fail_with_statuses(code);
    if (all_done == 0) return false;
    check_sizes();
    done_ = true;
    return true;
  }

  void wait() override {
    Patience patience(world_.options().timeout_ms);
    for (Backoff backoff; !test(); backoff.pause()) {
      if (!patience.is_over()) continue;
      const std::string reason = fmt::format("waited {} ms for {}", world_.options().timeout_ms, describe());
      world_.give_up(reason);
      fail_with(ErrorKind::kAborted, reason);
    }
  }

 private:
  [[noreturn]] void fail_with(ErrorKind kind, const std::string& message) {
    done_ = true;
    throw Error(kind, message);
  }

  [[noreturn]] void fail_with_statuses(int code) {
    for (std::size_t i = 0; code == MPI_ERR_IN_STATUS && i < statuses_.size(); ++i) {
      const int error = statuses_[i].MPI_ERROR;
      if (error == MPI_SUCCESS || error == MPI_ERR_PENDING) continue;
      const std::string place = describe_wait(what_, {&messages_[i], 1});
      int kind = MPI_SUCCESS;
      MPI_Error_class(error, &kind);
      if (kind == MPI_ERR_TRUNCATE) fail_with_size(place, "more");
      fail_with(ErrorKind::kEnvironment, fmt::format("{}: MPI says: {}", place, mpi_text(error)));
    }
    fail_with(ErrorKind::kEnvironment, fmt::format("{}: MPI says: {}", describe(), mpi_text(code)));
  }

  [[noreturn]] void fail_with_size(std::string_view place, std::string_view sent) {
    fail_with(ErrorKind::kInternal,
              fmt::format("{}, but it sent {}: the ranks' calls differ in order or size", place, sent));
  }

  void check_sizes() {
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      if (messages_[i].direction == Direction::kSend) continue;
      int num_bytes = 0;
      check_mpi(MPI_Get_count(&statuses_[i], MPI_BYTE, &num_bytes), "MPI_Get_count");
      if (num_bytes != messages_[i].num_bytes) {
        fail_with_size(describe_wait(what_, {&messages_[i], 1}), fmt::format("{} bytes", num_bytes));
      }
    }
  }

  std::string describe() const {
    std::vector<OpenTransfer> open;
    for (std::size_t i = 0; i < requests_.size() && !done_; ++i) {
      int complete = 0;
      MPI_Request_get_status(requests_[i], &complete, MPI_STATUS_IGNORE);
      if (complete == 0) open.push_back(messages_[i]);
    }
    return describe_wait(what_, open);
  }

  MpiWorld& world_;
  const std::string what_;
  bool done_ = true;  // nothing added yet
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  std::vector<OpenTransfer> messages_;  // one a request
};

class MpiCommunicator final : public ExchangeCommunicator {
 public:
  // Takes over comm, which nobody else may send on, and frees it.
  MpiCommunicator(MpiWorld& world, MPI_Comm comm);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_ranks_.size()); }
  std::string_view backend() const override { return "mpi"; }
  bool takes_another_thread() const override { return true; }  // MPI_THREAD_MULTIPLE
  void abort(const std::string& reason) noexcept override { world_.abort(reason); }
  std::string abort_reason() override { return world_.abort_reason(); }

 protected:
  std::unique_ptr<ExchangeCommunicator> divide(int color, int key) override;
  std::unique_ptr<PendingTransfers> post(Channel channel, std::span<const Send> sends,
                                         std::span<const Receive> receives, std::string_view what) override;

 private:
  MpiWorld& world_;
  MPI_Comm comm_;
  int rank_ = 0;
  std::vector<int> world_ranks_;
};

MpiCommunicator::MpiCommunicator(MpiWorld& world, MPI_Comm comm) : world_(world), comm_(comm) {
  check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  int num_ranks = 0;
  check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm_, &num_ranks), "MPI_Comm_size");

  MPI_Group mine = MPI_GROUP_NULL;
  MPI_Group all = MPI_GROUP_NULL;
  check_mpi(MPI_Comm_group(comm_, &mine), "MPI_Comm_group");
  check_mpi(MPI_Comm_group(MPI_COMM_WORLD, &all), "MPI_Comm_group");
  std::vector<int> ranks(num_ranks);
  std::iota(ranks.begin(), ranks.end(), 0);
  world_ranks_.resize(num_ranks);
  check_mpi(MPI_Group_translate_ranks(mine, num_ranks, ranks.data(), all, world_ranks_.data()),
            "MPI_Group_translate_ranks");
  MPI_Group_free(&mine);
  MPI_Group_free(&all);
}

MpiCommunicator::~MpiCommunicator() {
  if (!world_.aborted() && std::uncaught_exceptions() == 0) MPI_Comm_free(&comm_);
}

std::unique_ptr<PendingTransfers> MpiCommunicator::post(Channel channel, std::span<const Send> sends,
                                                        std::span<const Receive> receives, std::string_view what) {
  auto transfers = std::make_unique<MpiTransfers>(world_, what);
  const int tag = static_cast<int>(channel);
  // Receives first: what arrives early goes straight to its place.
  for (const Receive& receive : receives) {
    transfers->add({Direction::kReceive, world_ranks_[receive.peer], receive.num_bytes},
                   [&](std::int64_t begin, int num_bytes, MPI_Request* request) {
                     return MPI_Irecv(static_cast<char*>(receive.data) + begin, num_bytes, MPI_BYTE, receive.peer, tag,
                                      comm_, request);
                   });
  }
  for (const Send& send : sends) {
    transfers->add({Direction::kSend, world_ranks_[send.peer], send.num_bytes},
                   [&](std::int64_t begin, int num_bytes, MPI_Request* request) {
                     return MPI_Isend(static_cast<const char*>(send.data) + begin, num_bytes, MPI_BYTE, send.peer, tag,
                                      comm_, request);
                   });
  }
  return transfers;
}

std::unique_ptr<ExchangeCommunicator> MpiCommunicator::divide(int color, int key) {
  LS_CHECK(color >= 0, "split with colour {}", color);
  barrier();  // MPI's split has no deadline; once all ranks are here it needs none
  MPI_Comm part = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(comm_, color, key, &part), "MPI_Comm_split");
  return std::make_unique<MpiCommunicator>(world_, part);
}

}  // namespace

void check_mpi(int code, std::string_view call) {
  LS_REQUIRE(kEnvironment, code == MPI_SUCCESS, "{} failed: {}", call, mpi_text(code));
}

MpiWorld::MpiWorld(const CommOptions& options) : options_(options) {}

std::string MpiWorld::abort_reason() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

void MpiWorld::abort(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (aborted()) return;
  reason_ = reason;
  aborted_.store(true, std::memory_order_release);
}

void MpiWorld::give_up(const std::string& reason) {
  gave_up_.store(true, std::memory_order_release);
  abort(reason);
}

std::unique_ptr<Communicator> make_mpi_communicator(MpiWorld& world) {
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  return std::make_unique<MpiCommunicator>(world, comm);
}

}  // namespace longspan
