// The emulated GPU as a DeviceRuntime.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>

#include "kernels/core/device_runtime.h"
#include "kernels/core/staged_copies.h"
#include "kernels/cuda/emulated/queues.h"

namespace longspan::cuda::emulated {

class EmulatedRuntime final : public DeviceRuntime {
 public:
  EmulatedRuntime();
  ~EmulatedRuntime() override;

  Device device() const override { return Device::kCuda; }
  std::string name() const override;
  void make_current() override {}
  std::int64_t memory_bytes() const override { return host_runtime().memory_bytes(); }

  void* allocate(std::int64_t num_bytes) override;
  void release(void* memory, std::int64_t num_bytes) noexcept override;
  void* allocate_pinned(std::int64_t num_bytes) override;
  void release_pinned(void* memory, std::int64_t num_bytes) noexcept override;

  Stream make_stream(StreamUse use) override;
  void destroy(Stream stream) noexcept override;
  std::unique_ptr<DeviceEvent> make_event(EventTiming timing) override;

  void copy(Stream stream, void* to, const void* from, std::int64_t num_bytes) override;
  void upload(Stream stream, void* to, const void* from, std::int64_t num_bytes) override;
  void zero(Stream stream, void* memory, std::int64_t num_bytes) override;
  void synchronize(Stream stream) override;
  std::unique_ptr<DeviceGraph> capture(Stream stream, const std::function<void()>& give) override;

  // Queues work, as a kernel, that may touch device memory.
  void enqueue(Stream stream, std::function<void()> work);

 private:
  friend class EmulatedEvent;
  friend class EmulatedGraph;
  Queue& queue_of(Stream stream);
  // Memory that a copy in the background may touch: this device's or pinned.
  bool is_background(const void* memory, std::int64_t num_bytes) const;

  const std::shared_ptr<Queue> default_queue_;
  std::list<std::shared_ptr<Queue>> queues_;
  std::map<const char*, std::int64_t> pinned_;
  StagedCopies staged_{*this};
};

}  // namespace longspan::cuda::emulated
