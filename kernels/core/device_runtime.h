// DeviceRuntime: memory, queues and copies of one device, so that the rooms above need not know which kind it is.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "kernels/core/tensor.h"

namespace longspan {

// A queue of work on a device, in the order in which it was given. On the host there are no queues: work is done when
// its call returns, and every stream is this empty one.
struct Stream {
  void* handle = nullptr;
  bool operator==(const Stream&) const = default;
};
enum class StreamUse : std::uint8_t { kCompute, kTransfers };  // kTransfers goes before kCompute where both could run

// A mark in a stream. Reached at once on the host.
class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
  // Marks the end of what the stream holds now; an earlier mark is forgotten.
  virtual void record(Stream stream) = 0;
  // What is given to the stream from now on starts only once the mark is reached. The caller goes on.
  virtual void hold_back(Stream stream) = 0;
  virtual bool is_reached() = 0;
  // The caller waits. Throws as DeviceRuntime::synchronize() does.
  virtual void wait() = 0;
  // Between two marks that have been reached, made with EventTiming::kOn.
  virtual double milliseconds_since(const DeviceEvent& earlier) const = 0;
};
enum class EventTiming : std::uint8_t { kOff, kOn };

// Work that was recorded, to be given again as a whole: one call instead of hundreds.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  // Queues all of it on the stream. Addresses and arguments are those of the recording; so is what was uploaded.
  virtual void launch(Stream stream) = 0;
};

// One a rank: ranks that are threads may share a device. Calls may come from any thread once it has called
// make_current(). Failures throw Error(kEnvironment) with the device's own words, refusals of memory are a null
// pointer.
class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;
  virtual Device device() const = 0;
  virtual std::string name() const = 0;  // "NVIDIA H200"
  virtual void make_current() = 0;
  virtual std::int64_t memory_bytes() const = 0;  // of the whole device

  // Memory that tensors on this device live in, aligned to 256 bytes, uninitialised.
  virtual void* allocate(std::int64_t num_bytes) = 0;
  virtual void release(void* memory, std::int64_t num_bytes) noexcept = 0;
  // Host memory that the device copies from and to beside its other work.
  virtual void* allocate_pinned(std::int64_t num_bytes) = 0;
  virtual void release_pinned(void* memory, std::int64_t num_bytes) noexcept = 0;

  virtual Stream make_stream(StreamUse use) = 0;
  virtual void destroy(Stream stream) noexcept = 0;
  virtual std::unique_ptr<DeviceEvent> make_event(EventTiming timing) = 0;

  // Queued on the stream; either end may be memory of this device, pinned or (then the caller waits) plain host memory.
  virtual void copy(Stream stream, void* to, const void* from, std::int64_t num_bytes) = 0;
  // The same from plain host memory, which may change or go as soon as this returns. Small amounts: lists, tables.
  virtual void upload(Stream stream, void* to, const void* from, std::int64_t num_bytes) {
    copy(stream, to, from, num_bytes);
  }
  virtual void zero(Stream stream, void* memory, std::int64_t num_bytes) = 0;
  // The caller waits for all the stream holds. Throws what any work given to the device before failed with.
  virtual void synchronize(Stream stream) = 0;

  // Records what `give` gives to the stream, which is one that was made, instead of doing it; other streams that it
  // holds back for the stream's marks are recorded too, and must in the end be waited for. Meanwhile nothing may wait
  // on the host: copies with plain host memory and synchronize() fail with Error(kEnvironment). What `give` throws
  // ends the recording. Throws Error(kUnsupported) where work is done when it is given: on the host.
  virtual std::unique_ptr<DeviceGraph> capture(Stream stream, const std::function<void()>& give);

  // Names what the calling thread gives from now on in a profiler's time line. Ranges nest; see range.h.
  virtual void begin_range(const char* /*name*/) {}
  virtual void end_range() noexcept {}
};

// The host's own memory. Address space is reserved, pages are taken when they are first written.
DeviceRuntime& host_runtime();

}  // namespace longspan
