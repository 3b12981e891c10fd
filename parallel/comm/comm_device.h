// CommDevice: a rank's device as its communicators see it: two streams, marks between them, pinned memory to stage in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/core/device_runtime.h"

namespace longspan {

// Shared by the communicators that were split from one another. Used by one rank's thread; only marks are shared.
class CommDevice {
 public:
  // The runtime must outlive it.
  CommDevice(DeviceRuntime& runtime, Stream compute);
  // Waits for all that both streams hold: copies of peers' buffers are among it.
  ~CommDevice();
  CommDevice(const CommDevice&) = delete;
  CommDevice& operator=(const CommDevice&) = delete;

  DeviceRuntime& runtime() const { return runtime_; }
  Stream compute() const { return compute_; }
  Stream transfers() const { return transfers_; }

  // The end of what the stream holds now.
  std::shared_ptr<DeviceEvent> mark(Stream stream) const;

  // Pinned memory of at least so many bytes, from those given back before where one fits. Throws Error(kMemory).
  struct Staging {
    std::byte* memory = nullptr;
    std::int64_t num_bytes = 0;
  };
  Staging take(std::int64_t num_bytes);
  // `last_use`, where there is one, marks the end of the copies from and to it.
  void give_back(const Staging& staging, std::shared_ptr<DeviceEvent> last_use = nullptr);

 private:
  struct Spare {
    Staging staging;
    std::shared_ptr<DeviceEvent> last_use;
  };

  DeviceRuntime& runtime_;
  const Stream compute_;
  const Stream transfers_;
  std::vector<Spare> spares_;
  std::vector<Staging> all_;
};

}  // namespace longspan
