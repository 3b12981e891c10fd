#include <chrono>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/core/device_runtime.h"

namespace longspan {
namespace {

// Work on the host is done when its call returns, so a mark is reached as soon as it is made.
class HostEvent final : public DeviceEvent {
 public:
  void record(Stream) override { time_ = std::chrono::steady_clock::now(); }
  void hold_back(Stream) override {}
  bool is_reached() override { return true; }
  void wait() override {}
  double milliseconds_since(const DeviceEvent& earlier) const override {
    const auto since = time_ - static_cast<const HostEvent&>(earlier).time_;
    return std::chrono::duration<double, std::milli>(since).count();
  }

 private:
  std::chrono::steady_clock::time_point time_;
};

class HostRuntime final : public DeviceRuntime {
 public:
  Device device() const override { return Device::kCpu; }
  std::string name() const override { return "host"; }
  void make_current() override {}
  std::int64_t memory_bytes() const override { return std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGE_SIZE); }

  void* allocate(std::int64_t num_bytes) override {
    void* range = mmap(nullptr, static_cast<std::size_t>(num_bytes), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return range == MAP_FAILED ? nullptr : range;
  }
  void release(void* memory, std::int64_t num_bytes) noexcept override {
    munmap(memory, static_cast<std::size_t>(num_bytes));
  }
  void* allocate_pinned(std::int64_t num_bytes) override { return allocate(num_bytes); }
  void release_pinned(void* memory, std::int64_t num_bytes) noexcept override { release(memory, num_bytes); }

  Stream make_stream(StreamUse) override { return {}; }
  void destroy(Stream) noexcept override {}
  std::unique_ptr<DeviceEvent> make_event(EventTiming) override { return std::make_unique<HostEvent>(); }

  void copy(Stream, void* to, const void* from, std::int64_t num_bytes) override {
    if (num_bytes > 0) std::memmove(to, from, static_cast<std::size_t>(num_bytes));
  }
  void zero(Stream, void* memory, std::int64_t num_bytes) override {
    if (num_bytes > 0) std::memset(memory, 0, static_cast<std::size_t>(num_bytes));
  }
  void synchronize(Stream) override {}
};

}  // namespace

std::unique_ptr<DeviceGraph> DeviceRuntime::capture(Stream, const std::function<void()>&) {
  fail(ErrorKind::kUnsupported, "{} cannot record work to give it again: it is done when it is given", name());
}

DeviceRuntime& host_runtime() {
  static HostRuntime runtime;
  return runtime;
}

}  // namespace longspan
