#include "kernels/cuda/emulated/runtime.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>

#include "kernels/cuda/device.h"
#include "kernels/cuda/device_query.h"
#include "kernels/cuda/emulated/memory.h"
#include "kernels/cuda/emulated/recording.h"

namespace longspan {
namespace cuda::emulated {
namespace {

constexpr const char* kName = "emulated GPU (CUDA kernels on the host)";

// One for all emulated GPUs: a mark of one may hold back another's stream.
std::recursive_mutex& queues_lock() {
  static std::recursive_mutex lock;
  return lock;
}

}  // namespace

// A place in a queue. Never recorded, it is reached.
class EmulatedEvent final : public DeviceEvent {
 public:
  EmulatedEvent(EmulatedRuntime& runtime, EventTiming timing) : runtime_(runtime), timing_(timing) {}

  void record(Stream stream) override {
    const std::lock_guard lock(queues_lock());
    queue_ = runtime_.queue_of(stream).shared_from_this();
    queue_->push([time = time_] { *time = std::chrono::steady_clock::now(); });
    mark_ = queue_->mark();
    recording_ = queue_->recording;
    num_given_ = queue_->num_given();
  }
  void hold_back(Stream stream) override {
    const std::lock_guard lock(queues_lock());
    if (!queue_) return;
    Queue& other = runtime_.queue_of(stream);
    if (recording_) {
      expect_open();
      Recording::join(recording_, other);
      if (queue_->num_given() == num_given_) queue_->awaited = true;
      return;
    }
    LS_REQUIRE(kEnvironment, !other.recording, "a stream that is recorded waits for a mark that was not");
    other.push([queue = queue_, mark = mark_] { queue->do_until(mark); });
  }
  bool is_reached() override {
    const std::lock_guard lock(queues_lock());
    expect_not_recorded();
    // As late as may be, but somebody who asks again and again sees it come.
    if (queue_ && !queue_->is_done(mark_)) queue_->do_one();
    return !queue_ || queue_->is_done(mark_);
  }
  void wait() override {
    const std::lock_guard lock(queues_lock());
    expect_not_recorded();
    if (queue_) queue_->do_until(mark_);
  }
  double milliseconds_since(const DeviceEvent& earlier) const override {
    const auto& other = static_cast<const EmulatedEvent&>(earlier);
    LS_CHECK(timing_ == EventTiming::kOn && other.timing_ == EventTiming::kOn, "an event made without timing");
    return std::chrono::duration<double, std::milli>(*time_ - *other.time_).count();
  }

 private:
  using Time = std::chrono::steady_clock::time_point;

  void expect_open() const {
    LS_REQUIRE(kEnvironment, recording_->is_open(), "a stream waits for a mark of a recording that has ended");
  }
  void expect_not_recorded() const {
    LS_REQUIRE(kEnvironment, !recording_, "the host asks for a mark that was only recorded");
  }

  EmulatedRuntime& runtime_;
  EventTiming timing_;
  std::shared_ptr<Queue> queue_;  // lives on with its marks, as peers' streams may wait for them
  std::int64_t mark_ = 0, num_given_ = 0;
  std::shared_ptr<Recording> recording_;  // the mark lies in; null: in the queue's work itself
  std::shared_ptr<Time> time_ = std::make_shared<Time>();
};

class EmulatedGraph final : public DeviceGraph {
 public:
  EmulatedGraph(EmulatedRuntime& runtime, std::shared_ptr<const Recording> recording)
      : runtime_(runtime), recording_(std::move(recording)) {}
  void launch(Stream stream) override {
    const std::lock_guard lock(queues_lock());
    runtime_.queue_of(stream).push([recording = recording_] { recording->give_again(); });
  }

 private:
  EmulatedRuntime& runtime_;
  std::shared_ptr<const Recording> recording_;
};

EmulatedRuntime::EmulatedRuntime() : default_queue_(std::make_shared<Queue>(queue_timing())) {}
EmulatedRuntime::~EmulatedRuntime() = default;

std::string EmulatedRuntime::name() const {
  return kName;
}

void* EmulatedRuntime::allocate(std::int64_t num_bytes) {
  return allocate_device(num_bytes);
}
void EmulatedRuntime::release(void* memory, std::int64_t) noexcept {
  release_device(memory);
}

void* EmulatedRuntime::allocate_pinned(std::int64_t num_bytes) {
  void* memory = host_runtime().allocate_pinned(num_bytes);
  const std::lock_guard lock(queues_lock());
  if (memory) pinned_[static_cast<const char*>(memory)] = num_bytes;
  return memory;
}
void EmulatedRuntime::release_pinned(void* memory, std::int64_t num_bytes) noexcept {
  const std::lock_guard lock(queues_lock());
  if (pinned_.erase(static_cast<const char*>(memory)) > 0) host_runtime().release_pinned(memory, num_bytes);
}

Stream EmulatedRuntime::make_stream(StreamUse) {
  const std::lock_guard lock(queues_lock());
  return {queues_.emplace_back(std::make_shared<Queue>(queue_timing())).get()};
}

void EmulatedRuntime::destroy(Stream stream) noexcept {
  const std::lock_guard lock(queues_lock());
  Queue& queue = queue_of(stream);
  queue.do_until(queue.mark());
  // Kept for events that were recorded in it; it costs next to nothing.
}

std::unique_ptr<DeviceEvent> EmulatedRuntime::make_event(EventTiming timing) {
  return std::make_unique<EmulatedEvent>(*this, timing);
}

Queue& EmulatedRuntime::queue_of(Stream stream) {
  return stream.handle ? *static_cast<Queue*>(stream.handle) : *default_queue_;
}

bool EmulatedRuntime::is_background(const void* memory, std::int64_t num_bytes) const {
  if (is_device_memory(memory, num_bytes)) return true;
  const char* begin = static_cast<const char*>(memory);
  const auto after = pinned_.upper_bound(begin);
  if (after == pinned_.begin()) return false;
  const auto& [start, size] = *std::prev(after);
  return begin + num_bytes <= start + size;
}

void EmulatedRuntime::enqueue(Stream stream, std::function<void()> work) {
  const std::lock_guard lock(queues_lock());
  queue_of(stream).push([work = std::move(work)] {
    const OpenMemory open;
    work();
  });
}

void EmulatedRuntime::copy(Stream stream, void* to, const void* from, std::int64_t num_bytes) {
  if (num_bytes == 0) return;
  const std::lock_guard lock(queues_lock());
  enqueue(stream, [=] { std::memmove(to, from, static_cast<std::size_t>(num_bytes)); });
  if (!is_background(to, num_bytes) || !is_background(from, num_bytes)) synchronize(stream);
}

void EmulatedRuntime::upload(Stream stream, void* to, const void* from, std::int64_t num_bytes) {
  std::unique_lock lock(queues_lock());
  if (const std::shared_ptr<Recording> recording = queue_of(stream).recording) {
    const void* kept = recording->keep(from, num_bytes);
    return enqueue(stream, [=] { std::memcpy(to, kept, static_cast<std::size_t>(num_bytes)); });
  }
  lock.unlock();
  staged_.copy(stream, to, from, num_bytes);
}

void EmulatedRuntime::zero(Stream stream, void* memory, std::int64_t num_bytes) {
  LS_CHECK(num_bytes == 0 || is_device_memory(memory, num_bytes), "{} bytes to zero are not the device's", num_bytes);
  if (num_bytes > 0) enqueue(stream, [=] { std::memset(memory, 0, static_cast<std::size_t>(num_bytes)); });
}

void EmulatedRuntime::synchronize(Stream stream) {
  const std::lock_guard lock(queues_lock());
  Queue& queue = queue_of(stream);
  LS_REQUIRE(kEnvironment, !queue.recording, "the host waits for a stream that is being recorded");
  queue.do_until(queue.mark());
}

std::unique_ptr<DeviceGraph> EmulatedRuntime::capture(Stream stream, const std::function<void()>& give) {
  std::shared_ptr<Recording> recording;
  {
    const std::lock_guard lock(queues_lock());
    Queue& queue = queue_of(stream);
    LS_REQUIRE(kEnvironment, stream.handle && !queue.recording, "the stream cannot be recorded: it is {}",
               stream.handle ? "already" : "the default one");
    recording = Recording::begin(queue);
  }
  try {
    give();
  } catch (...) {
    const std::lock_guard lock(queues_lock());
    recording->abandon();
    throw;
  }
  const std::lock_guard lock(queues_lock());
  recording->end();
  return std::make_unique<EmulatedGraph>(*this, recording);
}

}  // namespace cuda::emulated

std::unique_ptr<DeviceRuntime> make_device_runtime(int ordinal) {
  LS_REQUIRE(kEnvironment, ordinal == 0, "there is no GPU {}: this build emulates one, number 0", ordinal);
  return std::make_unique<cuda::emulated::EmulatedRuntime>();
}

CudaDevices query_cuda_devices() {
  return {{cuda::emulated::kName}, ""};
}

}  // namespace longspan
