#include "kernels/core/pinned_memory.h"

namespace longspan {

PinnedMemory::~PinnedMemory() {
  release();
}

void PinnedMemory::release() noexcept {
  if (memory_) runtime_->release_pinned(memory_, num_bytes_);
  memory_ = nullptr;
  num_bytes_ = 0;
}

void PinnedMemory::make_room(DeviceRuntime& runtime, std::int64_t num_bytes) {
  if (runtime_ == &runtime && num_bytes <= num_bytes_) return;
  release();
  runtime_ = &runtime;
  if (num_bytes == 0) return;
  memory_ = static_cast<std::byte*>(runtime.allocate_pinned(num_bytes));
  LS_REQUIRE(kMemory, memory_ != nullptr,
             "the host refuses {:.1f} MiB of pinned memory; use a shorter sequence, or fewer ranks a host",
             static_cast<double>(num_bytes) / (1 << 20));
  num_bytes_ = num_bytes;
}

}  // namespace longspan
