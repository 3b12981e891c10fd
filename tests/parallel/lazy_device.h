// LazyDevice: a device in the host's memory that does its work as late as it may: a stream's work is done when somebody
// waits for it. What relies on order that no mark asks for reads what is not there yet.
#pragma once

#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>

#include "kernels/core/device_runtime.h"

namespace longspan::testing {

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
    return {streams_.emplace_back(std::make_shared<Queue>()).get()};
  }
  void destroy(Stream stream) noexcept override { synchronize(stream); }
  std::unique_ptr<DeviceEvent> make_event(EventTiming) override { return std::make_unique<Mark>(*this); }

  void copy(Stream stream, void* to, const void* from, std::int64_t num_bytes) override {
    enqueue(stream, [=] {
      if (num_bytes > 0) std::memmove(to, from, static_cast<std::size_t>(num_bytes));
    });
  }
  void zero(Stream stream, void* memory, std::int64_t num_bytes) override {
    enqueue(stream, [=] { std::memset(memory, 0, static_cast<std::size_t>(num_bytes)); });
  }
  void synchronize(Stream stream) override {
    const std::lock_guard lock(mutex());
    queue_of(stream)->do_until(queue_of(stream)->num_given);
  }
  std::atomic<bool> hangs = false;  // nobody's look moves it on
  void enqueue(Stream stream, std::function<void()> work) {
    const std::lock_guard lock(mutex());
    queue_of(stream)->give(std::move(work));
  }

 private:
  struct Queue {
    std::deque<std::function<void()>> work;
    std::int64_t num_given = 0, num_done = 0;
    void give(std::function<void()> one) {
      work.push_back(std::move(one));
      ++num_given;
    }
    void do_until(std::int64_t mark) {
      while (num_done < mark && !work.empty()) {
        const std::function<void()> one = std::move(work.front());
        work.pop_front();
        ++num_done;
        one();
      }
    }
  };

  class Mark final : public DeviceEvent {
   public:
    explicit Mark(LazyDevice& device) : device_(device) {}
    void record(Stream stream) override {
      const std::lock_guard lock(mutex());
      queue_ = device_.queue_of(stream);
      place_ = queue_->num_given;
    }
    void hold_back(Stream stream) override {
      const std::lock_guard lock(mutex());
      if (queue_) device_.in(stream).give([queue = queue_, place = place_] { queue->do_until(place); });
    }
    bool is_reached() override {
      const std::lock_guard lock(mutex());
      if (device_.hangs) return !queue_ || queue_->num_done >= place_;
      if (queue_ && queue_->num_done < place_) queue_->do_until(queue_->num_done + 1);
      return !queue_ || queue_->num_done >= place_;
    }
    void wait() override {
      const std::lock_guard lock(mutex());
      if (queue_) queue_->do_until(place_);
    }
    double milliseconds_since(const DeviceEvent&) const override { return 0; }

   private:
    LazyDevice& device_;
    std::shared_ptr<Queue> queue_;
    std::int64_t place_ = 0;
  };

  // One for all devices: marks of one hold back another's streams.
  static std::recursive_mutex& mutex() {
    static std::recursive_mutex mutex;
    return mutex;
  }
  // Perhaps of another device.
  Queue& in(Stream stream) { return stream.handle ? *static_cast<Queue*>(stream.handle) : *default_; }
  const std::shared_ptr<Queue>& queue_of(Stream stream) {
    for (const std::shared_ptr<Queue>& queue : streams_)
      if (queue.get() == stream.handle) return queue;
    return default_;
  }
  void do_all() noexcept {
    const std::lock_guard lock(mutex());
    for (const std::shared_ptr<Queue>& queue : streams_) queue->do_until(queue->num_given);
    default_->do_until(default_->num_given);
  }

  std::shared_ptr<Queue> default_ = std::make_shared<Queue>();
  std::list<std::shared_ptr<Queue>> streams_;
};

}  // namespace longspan::testing
