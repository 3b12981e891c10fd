// Memory of the emulated GPU: as real device memory, host code cannot touch it. It is open while kernels and copies
// run, and any other access ends the process as a bad pointer does.
#pragma once

#include <cstdint>

namespace longspan::cuda::emulated {

// Aligned to 256 bytes, zeroed pages not taken until written, a forbidden page behind it; null if the machine
// refuses.
void* allocate_device(std::int64_t num_bytes);
void release_device(void* memory) noexcept;
// Whether all of the range lies in one allocation.
bool is_device_memory(const void* begin, std::int64_t num_bytes);

// While one lives, all device memory may be read and written.
class OpenMemory {
 public:
  OpenMemory();
  ~OpenMemory();
  OpenMemory(const OpenMemory&) = delete;
  OpenMemory& operator=(const OpenMemory&) = delete;
};

}  // namespace longspan::cuda::emulated
