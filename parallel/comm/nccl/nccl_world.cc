#include "parallel/comm/nccl/nccl_world.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "kernels/core/error.h"
#include "kernels/core/log.h"

namespace longspan {
namespace {

constexpr auto kBetweenLooks = std::chrono::milliseconds(20);

void pause_shortly() {
  std::this_thread::sleep_for(std::chrono::microseconds(20));
}

}  // namespace

NcclWorld::NcclWorld(NcclApi& api, Communicator& host, DeviceRuntime& runtime, Stream compute,
                     const CommOptions& options)
    : api_(api), host_(host), options_(options), device_(runtime, compute) {
  watcher_ = std::jthread([this](const std::stop_token& stop) {
    device_.runtime().make_current();
    while (!stop.stop_requested()) {
      look();
      std::this_thread::sleep_for(kBetweenLooks);
    }
  });
}

NcclWorld::~NcclWorld() {
  watcher_.request_stop();
  watcher_.join();
}

void NcclWorld::look() {
  std::string reason;
  try {
    reason = host_.abort_reason();
    const std::lock_guard lock(mutex_);
    if (aborted_) return;
    if (reason.empty()) reason = fault_of_pending();
    std::string why;
    for (const NcclHandle comm : comms_)
      if (reason.empty() && api_.state(comm, why) == NcclState::kFailed)
        reason = fmt::format("NCCL failed{}: {}", what_is_pending(), why);
  } catch (const Error& error) {
    reason = error.what();
  }
  if (!reason.empty()) abort(reason);
}

// A deadline counts from when the device could begin: what was queued before, and what the compute stream held then, is
// done. Nobody need have waited yet, so that a receive whose message never comes is told even of a rank that is stuck.
std::string NcclWorld::fault_of_pending() {
  for (auto& [stream, pending] : pending_)
    if (std::string fault = fault_of_first(pending); !fault.empty()) return fault;
  return "";
}

std::string NcclWorld::what_is_pending() const {
  for (const auto& [stream, pending] : pending_)
    if (!pending.empty()) return fmt::format(" in {}", pending.front().what);
  return "";
}

std::string NcclWorld::fault_of_first(std::list<Pending>& pending) {
  while (!pending.empty() && pending.front().done->is_reached()) pending.pop_front();
  if (pending.empty()) return "";
  Pending& first = pending.front();
  if (!first.begun) {
    if (!first.ready->is_reached()) return "";
    first.begun = true;
    first.patience = Patience(options_.timeout_ms);
  }
  return first.patience.is_over() ? fmt::format("waited {} ms for {}", options_.timeout_ms, first.what) : "";
}

void NcclWorld::close_queue(Stream queue) noexcept {
  {
    const std::lock_guard lock(mutex_);
    pending_.erase(queue.handle);
  }
  device_.runtime().destroy(queue);
}

std::shared_ptr<DeviceEvent> NcclWorld::queue(NcclHandle comm, Stream stream, const std::string& what,
                                              const Calls& calls) {
  throw_if_aborted(what);
  const std::shared_ptr<DeviceEvent> ready = device_.mark(device_.compute());
  ready->hold_back(stream);
  try {
    const std::lock_guard lock(mutex_);
    api_.begin_group();
    calls(stream);
    api_.end_group();
  } catch (const Error& error) {
    end(fmt::format("{}: {}", what, error.what()));
    throw;
  }
  settle(comm, what);
  const std::shared_ptr<DeviceEvent> done = device_.mark(stream);
  const std::lock_guard lock(mutex_);
  pending_[stream.handle].push_back({ready, done, what, false, Patience(options_.timeout_ms)});
  return done;
}

// Until then the calls may not have reached the stream, and a mark would stand before them.
void NcclWorld::settle(NcclHandle comm, const std::string& what) {
  Patience patience(options_.timeout_ms);
  while (true) {
    throw_if_aborted(what);
    std::string why;
    const NcclState state = [&] {
      const std::lock_guard lock(mutex_);
      return aborted_ ? NcclState::kInProgress : api_.state(comm, why);
    }();
    if (state == NcclState::kReady) return;
    std::string reason;
    if (state == NcclState::kFailed) reason = fmt::format("{}: NCCL failed: {}", what, why);
    if (patience.is_over()) reason = fmt::format("waited {} ms for {}", options_.timeout_ms, what);
    if (!reason.empty()) {
      abort(reason);
      throw Error(state == NcclState::kFailed ? ErrorKind::kEnvironment : ErrorKind::kAborted, reason);
    }
    pause_shortly();
  }
}

NcclHandle NcclWorld::open(const std::string& what, const std::function<NcclHandle()>& begin) {
  throw_if_aborted(what);
  const NcclHandle comm = [&] {
    const std::lock_guard lock(mutex_);
    comms_.push_back(begin());
    return comms_.back();
  }();
  settle(comm, what);
  return comm;
}

void NcclWorld::close(NcclHandle comm) noexcept {
  const std::lock_guard lock(mutex_);
  if (aborted_) return;  // ended already
  std::erase(comms_, comm);
  api_.leave(comm);
}

void* NcclWorld::register_memory(void* data, std::int64_t num_bytes, NcclHandle comm, std::string& why) {
  throw_if_aborted("registering memory");
  const std::lock_guard lock(mutex_);
  if (!aborted_) return api_.register_memory(data, num_bytes, comm, why);
  why = reason_;
  return nullptr;
}

void NcclWorld::deregister_memory(void* registration, NcclHandle comm) noexcept {
  const std::lock_guard lock(mutex_);
  if (!aborted_) api_.deregister_memory(registration, comm);  // an abort has done it
}

void NcclWorld::tell_of_refusal(const std::string& why) {
  if (std::exchange(told_of_refusal_, true)) return;
  log(LogLevel::kInfo, "NCCL copies messages through its own buffers: memory was not registered: {}", why);
}

void NcclWorld::abort(const std::string& reason) noexcept {
  end(reason);
  host_.abort(reason);
}

void NcclWorld::end(const std::string& reason) noexcept {
  const std::lock_guard lock(mutex_);
  if (aborted_) return;
  aborted_ = true;
  reason_ = reason;
  for (const NcclHandle comm : comms_) api_.abort(comm);
  comms_.clear();
}

void NcclWorld::throw_if_aborted(const std::string& what) const {
  const std::lock_guard lock(mutex_);
  LS_REQUIRE(kAborted, !aborted_, "{} was ended: {}", what, reason_);
}

}  // namespace longspan
