// PinnedMemory: host memory that a device copies from and to beside its other work; grows when more is asked for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/core/device_runtime.h"

namespace longspan {

class PinnedMemory {
 public:
  PinnedMemory() = default;
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  // Holds at least num_bytes afterwards. Where it grows, what it held is lost, and nothing may be copying it. The
  // runtime must outlive this. Throws Error(kMemory).
  void make_room(DeviceRuntime& runtime, std::int64_t num_bytes);
  std::byte* data() const { return memory_; }
  std::int64_t num_bytes() const { return num_bytes_; }

 private:
  void release() noexcept;
  DeviceRuntime* runtime_ = nullptr;
  std::byte* memory_ = nullptr;
  std::int64_t num_bytes_ = 0;
};

}  // namespace longspan
