#include "parallel/comm/local_transfers.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include "kernels/core/error.h"
#include "parallel/comm/staged_transfers.h"

namespace longspan {
namespace {

using State = LocalTransfer::State;

LocalTransfer* pop(LocalQueue& queue) {
  LocalTransfer* first = queue.head;
  queue.head = first->next;
  if (queue.head == nullptr) queue.tail = nullptr;
  return first;
}

void push(LocalQueue& queue, LocalTransfer* transfer) {
  (queue.tail != nullptr ? queue.tail->next : queue.head) = transfer;
  queue.tail = transfer;
}

}  // namespace

LocalGroup::LocalGroup(LocalWorld& world, std::int64_t id, std::vector<int> world_ranks)
    : world_(world), id_(id), world_ranks_(std::move(world_ranks)) {
  for (auto& queues : queues_) queues.resize(world_ranks_.size() * world_ranks_.size());
}

LocalTransfers::LocalTransfers(LocalGroup& group, int rank, std::shared_ptr<CommDevice> device, Channel channel,
                               std::span<const Send> sends, std::span<const Receive> receives, std::string_view what)
    : group_(group), world_(group.world()), rank_(rank), device_(std::move(device)), what_(what) {
  if (any_on_device(sends, receives)) ready_ = device_->mark(device_->compute());
  transfers_.reserve(sends.size() + receives.size());
  for (const Send& send : sends) {
    transfers_.push_back({.direction = Direction::kSend,
                          .peer = send.peer,
                          .source = send.data,
                          .target = nullptr,
                          .num_bytes = send.num_bytes,
                          .device = send.device,
                          .owner = this});
  }
  for (const Receive& receive : receives) {
    transfers_.push_back({.direction = Direction::kReceive,
                          .peer = receive.peer,
                          .source = nullptr,
                          .target = receive.data,
                          .num_bytes = receive.num_bytes,
                          .device = receive.device,
                          .owner = this});
  }
  Lock lock(world_.mutex());
  throw_if_aborted(lock);
  num_open_ = transfers_.size();
  for (LocalTransfer& transfer : transfers_) match(channel, transfer);
}

// Dropped unfinished only when its rank fails: the peers' waits could never end, and must not touch the buffers.
LocalTransfers::~LocalTransfers() {
  Lock lock(world_.mutex());
  if (num_open_ == 0 && settled_) return;
  if (num_open_ > 0) world_.abort_locked(world_rank(), fmt::format("gave up {}", describe()));
  leave_copies(lock);
}

void LocalTransfers::match(Channel channel, LocalTransfer& mine) {
  const bool send = mine.direction == Direction::kSend;
  LocalQueue& queue = send ? group_.queue(channel, rank_, mine.peer) : group_.queue(channel, mine.peer, rank_);
  if (queue.head == nullptr || queue.head->direction == mine.direction) {
    push(queue, &mine);
    return;
  }
  LocalTransfer* other = pop(queue);
  if (other->num_bytes != mine.num_bytes) {
    const std::string reason =
        fmt::format("'{}' of rank {} {} {} bytes, but '{}' of rank {} {} {}: their calls differ in order or size",
                    what_, world_rank(), send ? "sends" : "receives", mine.num_bytes, other->owner->what_,
                    other->owner->world_rank(), send ? "receives" : "sends", other->num_bytes);
    world_.abort_locked(world_rank(), reason);
    fail(ErrorKind::kInternal, "{}", reason);
  }
  mine.other = other;
  other->other = &mine;
  mine.state = other->state = State::kMatched;
  other->owner->changed_.notify_all();
}

std::shared_ptr<DeviceEvent> LocalTransfers::copy(const LocalTransfer& from, const LocalTransfer& to) const {
  if (from.num_bytes == 0) return nullptr;
  if (from.device == Device::kCpu && to.device == Device::kCpu) {
    std::memcpy(to.target, from.source, static_cast<std::size_t>(from.num_bytes));
    return nullptr;
  }
  LS_CHECK(device_, "'{}' with a rank on a device, but rank {} has not been told of its own: call use_device() first",
           what_, world_rank());
  for (const LocalTransfer* side : {&from, &to})
    if (side->owner->ready_) side->owner->ready_->hold_back(device_->transfers());
  device_->runtime().copy(device_->transfers(), to.target, from.source, from.num_bytes);
  return device_->mark(device_->transfers());
}

void LocalTransfers::copy_matched(Lock& lock) {
  for (LocalTransfer& mine : transfers_) {
    if (mine.state != State::kMatched) continue;
    LocalTransfer& other = *mine.other;
    mine.state = other.state = State::kCopying;
    const LocalTransfer& from = mine.direction == Direction::kSend ? mine : other;
    const LocalTransfer& to = mine.direction == Direction::kSend ? other : mine;
    std::shared_ptr<DeviceEvent> copied;
    std::exception_ptr failure;
    lock.unlock();
    try {
      copied = copy(from, to);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    mine.copied = other.copied = copied;
    mine.state = other.state = State::kDone;
    --num_open_;
    --other.owner->num_open_;
    other.owner->changed_.notify_all();
    if (failure) std::rethrow_exception(failure);
    throw_if_aborted(lock);
  }
}

bool LocalTransfers::copies_are_done() const {
  return std::all_of(transfers_.begin(), transfers_.end(),
                     [](const LocalTransfer& t) { return t.copied == nullptr || t.copied->is_reached(); });
}

void LocalTransfers::settle() {
  settled_ = true;
  for (const LocalTransfer& mine : transfers_) {
    if (mine.copied == nullptr) continue;
    if (mine.device == Device::kCpu)
      mine.copied->wait();
    else
      mine.copied->hold_back(device_->compute());
  }
}

void LocalTransfers::throw_if_aborted(Lock& lock) {
  if (world_.abort_rank() < 0) return;
  const Error error(ErrorKind::kAborted, fmt::format("{} was ended: rank {} aborted: {}", describe(),
                                                     world_.abort_rank(), world_.abort_reason()));
  leave_copies(lock);
  throw error;
}

// A peer may be copying from or to this rank's buffers: they must outlive that. After an abort no new copy begins.
void LocalTransfers::leave_copies(Lock& lock) {
  for (const LocalTransfer& mine : transfers_) {
    changed_.wait(lock, [&] { return mine.state != State::kCopying; });
  }
  num_open_ = 0;
  if (settled_) return;
  settled_ = true;
  for (const LocalTransfer& mine : transfers_) {
    try {
      if (mine.copied) mine.copied->wait();
    } catch (const Error&) {  // of a rank that fails already; it tells its own reason
    }
  }
}

bool LocalTransfers::test() {
  Lock lock(world_.mutex());
  throw_if_aborted(lock);
  copy_matched(lock);
  if (num_open_ > 0) return false;
  lock.unlock();  // nobody else touches what is done
  settled_ = settled_ || copies_are_done();
  return settled_;
}

void LocalTransfers::wait() {
  wait_for_copies();
  settle();
}

void LocalTransfers::wait_for_copies() {
  Lock lock(world_.mutex());
  wait_began_ = std::chrono::steady_clock::now();
  const auto deadline = wait_began_ + std::chrono::milliseconds(world_.timeout_ms());
  const LocalWorld::Waiting waiting(world_, *this);
  while (true) {
    throw_if_aborted(lock);
    copy_matched(lock);
    if (num_open_ == 0) return;
    if (peer_copies()) {
      changed_.wait(lock);
    } else if (changed_.wait_until(lock, deadline) == std::cv_status::timeout && is_stuck()) {
      const std::string reason =
          fmt::format("waited {} ms for {}; all ranks:{}", world_.timeout_ms(), describe(), world_.describe_ranks());
      world_.abort_locked(world_rank(), reason);
      leave_copies(lock);
      throw Error(ErrorKind::kAborted, reason);
    }
  }
}

bool LocalTransfers::peer_copies() const {
  return std::any_of(transfers_.begin(), transfers_.end(), [](const auto& t) { return t.state == State::kCopying; });
}

bool LocalTransfers::is_stuck() const {
  return world_.abort_rank() < 0 && num_open_ > 0 &&
         std::all_of(transfers_.begin(), transfers_.end(),
                     [](const auto& t) { return t.state == State::kPosted || t.state == State::kDone; });
}

std::string LocalTransfers::describe_with_time() const {
  const auto waited = std::chrono::steady_clock::now() - wait_began_;
  return fmt::format("waits since {} ms for {}", std::chrono::duration_cast<std::chrono::milliseconds>(waited).count(),
                     describe());
}

std::string LocalTransfers::describe() const {
  std::vector<OpenTransfer> open;
  for (const LocalTransfer& mine : transfers_) {
    if (mine.state != State::kDone) open.push_back({mine.direction, group_.world_rank(mine.peer), mine.num_bytes});
  }
  return describe_wait(what_, open);
}

}  // namespace longspan
