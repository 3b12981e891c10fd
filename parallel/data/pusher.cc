#include "parallel/data/pusher.h"

#include <chrono>
#include <utility>

namespace longspan {
namespace {

// A tenth of what a socket's buffers hold at 10 Gbit/s passes meanwhile.
constexpr auto kBetweenLooks = std::chrono::microseconds(100);

}  // namespace

Pusher::Pusher(PushedBy by, Step step) : step_(std::move(step)) {
  if (by == PushedBy::kThread) thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Pusher::~Pusher() = default;

void Pusher::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  // A wait that is to stop says what it waited for, not that it was stopped.
  while (!stop.stop_requested() && told_.wait(lock, stop, [&] { return has_work_; })) {
    has_work_ = false;
    const Patient patient = waited_for_ ? Patient::kYes : Patient::kNo;
    PushState state = PushState::kIdle;
    stepping_ = true;
    lock.unlock();
    try {
      state = step_(patient);
    } catch (...) {
      failure_ = std::current_exception();
      failed_.store(true, std::memory_order_release);
    }
    lock.lock();
    stepping_ = false;
    stepped_.notify_all();
    if (failed_) return;
    if (state == PushState::kIdle) continue;
    if (patient == Patient::kNo) told_.wait_for(lock, stop, kBetweenLooks, [&] { return has_work_; });
    has_work_ = true;
  }
}

void Pusher::throw_if_failed() {
  if (failed_.load(std::memory_order_acquire)) std::rethrow_exception(failure_);
}

void Pusher::tell() {
  throw_if_failed();
  if (!thread_.joinable()) {
    step_(Patient::kNo);
    return;
  }
  const std::lock_guard lock(mutex_);
  has_work_ = true;
  told_.notify_all();
}

void Pusher::look() {
  throw_if_failed();
  if (!thread_.joinable()) step_(Patient::kNo);
}

void Pusher::wait_until(const std::function<bool()>& reached) {
  if (!thread_.joinable()) {
    while (!reached()) step_(Patient::kYes);
    return;
  }
  std::unique_lock lock(mutex_);
  waited_for_ = has_work_ = true;
  told_.notify_all();
  stepped_.wait(lock, [&] { return failed_ || (!stepping_ && reached()); });
  waited_for_ = false;
  lock.unlock();
  throw_if_failed();
}

void Pusher::while_still(const std::function<void()>& change) {
  throw_if_failed();
  std::unique_lock lock(mutex_);
  stepped_.wait(lock, [&] { return !stepping_; });
  change();
}

}  // namespace longspan
