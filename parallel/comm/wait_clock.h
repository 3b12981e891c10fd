// WaitClock: how long a rank waited for others in a step, on whatever computes, without making it wait any longer.
#pragma once

#include <memory>
#include <vector>

#include "kernels/core/device_runtime.h"

namespace longspan {

class WaitClock {
 public:
  // On a device the time is that in which `stream` stood still. The runtime must outlive it.
  WaitClock(DeviceRuntime& runtime, Stream stream) : runtime_(runtime), stream_(stream) {}

  // Waits one after another; each from begin() to end().
  void begin();
  void end();
  // Of all waits since the last call, which waits for them on a device: once a step is often enough.
  double take_seconds();

 private:
  struct Wait {
    std::unique_ptr<DeviceEvent> begin, end;
  };
  DeviceRuntime& runtime_;
  const Stream stream_;
  std::vector<Wait> waits_;  // the first used_ since the last call; the rest to be used again
  std::size_t used_ = 0;
};

}  // namespace longspan
