// LazyDevice: a device in the host's memory that does its work as late as it may: a stream's work is done when somebody
// waits for it. What relies on order that no mark asks for reads what is not there yet. Work may wait for another
// device's; whoever waits then tries again, and lets others at the devices in between.
#pragma once

#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/core/device_runtime.h"

namespace longspan::testing {

// What a stream has been given, in order.
class LazyQueue {
 public:
  // Tried again until it returns true. Runs on any thread, one at a time over all devices: it must not block.
  using Work = std::function<bool()>;

  void give(Work one) {
    work_.push_back(std::move(one));
    ++num_given_;
  }
  std::int64_t num_given() const { return num_given_; }
  std::int64_t num_done() const { return num_done_; }
  bool do_until(std::int64_t mark) {
    while (num_done_ < mark && !is_busy_) {
      is_busy_ = true;
      const bool is_done = work_.front()();
      is_busy_ = false;
      if (!is_done) return false;
      work_.pop_front();
      ++num_done_;
    }
    return num_done_ >= mark;
  }

 private:
  std::deque<Work> work_;
  std::int64_t num_given_ = 0, num_done_ = 0;
  bool is_busy_ = false;  // what its work waits for may lead back here
};

// All that a stream held once.
class LazyPlace {
 public:
  LazyPlace() = default;
  explicit LazyPlace(std::shared_ptr<LazyQueue> queue) : queue_(std::move(queue)), mark_(queue_->num_given()) {}
  // For work, and under the devices' lock. Does what can be done; whether that is all.
  bool reach() const { return !queue_ || queue_->do_until(mark_); }
  // At most one piece.
  bool step() const {
    if (!is_reached()) queue_->do_until(queue_->num_done() + 1);
    return is_reached();
  }
  bool is_reached() const { return !queue_ || queue_->num_done() >= mark_; }

 private:
  std::shared_ptr<LazyQueue> queue_;
  std::int64_t mark_ = 0;
};

class LazyDevice final : public DeviceRuntime {
 public:
  ~LazyDevice() override = default;
  Device device() const override { return Device::kCuda; }
  std::string name() const override { return "lazy device"; }
  void make_current() override {}
  std::int64_t memory_bytes() const override { return host_runtime().memory_bytes(); }

  void* allocate(std::int64_t num_bytes) override { return host_runtime().allocate(num_bytes); }
  void release(void* memory, std::int64_t num_bytes) noexcept override {
    do_all();  // as a device does
    host_runtime().release(memory, num_bytes);
  }
  void* allocate_pinned(std::int64_t num_bytes) override { return host_runtime().allocate(num_bytes); }
  void release_pinned(void* memory, std::int64_t num_bytes) noexcept override { release(memory, num_bytes); }

  Stream make_stream(StreamUse) override {
    const std::lock_guard lock(mutex());
    return {streams_.emplace_back(std::make_shared<LazyQueue>()).get()};
  }
  void destroy(Stream stream) noexcept override { synchronize(stream); }
  std::unique_ptr<DeviceEvent> make_event(EventTiming) override { return std::make_unique<Mark>(*this); }

  void copy(Stream stream, void* to, const void* from, std::int64_t num_bytes) override {
    enqueue(stream, [=] {
      if (num_bytes > 0) std::memmove(to, from, static_cast<std::size_t>(num_bytes));
      return true;
    });
  }
  void zero(Stream stream, void* memory, std::int64_t num_bytes) override {
    enqueue(stream, [=] {
      std::memset(memory, 0, static_cast<std::size_t>(num_bytes));
      return true;
    });
  }
  void synchronize(Stream stream) override {
    until([place = end_of(stream)] { return place.reach(); });
  }
  std::atomic<bool> hangs = false;  // nobody's look moves it on

  void enqueue(Stream stream, LazyQueue::Work work) {
    const std::lock_guard lock(mutex());
    queue_of(stream)->give(std::move(work));
  }
  LazyPlace end_of(Stream stream) {
    const std::lock_guard lock(mutex());
    return LazyPlace(queue_of(stream));
  }

 private:
  class Mark final : public DeviceEvent {
   public:
    explicit Mark(LazyDevice& device) : device_(device) {}
    void record(Stream stream) override {
      const std::lock_guard lock(mutex());
      place_ = LazyPlace(device_.queue_of(stream));
    }
    void hold_back(Stream stream) override {
      const std::lock_guard lock(mutex());
      device_.in(stream).give([place = place_] { return place.reach(); });
    }
    bool is_reached() override {
      const std::lock_guard lock(mutex());
      return device_.hangs ? place_.is_reached() : place_.step();
    }
    void wait() override {
      until([this] { return place_.reach(); });
    }
    double milliseconds_since(const DeviceEvent&) const override { return 0; }

   private:
    LazyDevice& device_;
    LazyPlace place_;
  };

  // One for all devices: marks of one hold back another's streams.
  static std::mutex& mutex() {
    static std::mutex mutex;
    return mutex;
  }
  template <class Attempt>
  static void until(const Attempt& attempt) {
    while (true) {
      {
        const std::lock_guard lock(mutex());
        if (attempt()) return;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
  // Perhaps of another device.
  LazyQueue& in(Stream stream) { return stream.handle ? *static_cast<LazyQueue*>(stream.handle) : *default_; }
  const std::shared_ptr<LazyQueue>& queue_of(Stream stream) {
    for (const std::shared_ptr<LazyQueue>& queue : streams_)
      if (queue.get() == stream.handle) return queue;
    return default_;
  }
  void do_all() noexcept {
    std::list<LazyPlace> places;
    {
      const std::lock_guard lock(mutex());
      for (const std::shared_ptr<LazyQueue>& queue : streams_) places.emplace_back(queue);
      places.emplace_back(default_);
    }
    for (const LazyPlace& place : places) until([&] { return place.reach(); });
  }

  std::shared_ptr<LazyQueue> default_ = std::make_shared<LazyQueue>();
  std::list<std::shared_ptr<LazyQueue>> streams_;
};

}  // namespace longspan::testing
