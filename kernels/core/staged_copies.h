// StagedCopies: small host memory on its way to a device while the caller goes on.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "kernels/core/device_runtime.h"

namespace longspan {

// A few pieces of pinned memory that take turns. Any thread may call. Its owner, the runtime itself, must outlive what
// it has queued.
class StagedCopies {
 public:
  explicit StagedCopies(DeviceRuntime& runtime) : runtime_(runtime) {}
  ~StagedCopies();
  StagedCopies(const StagedCopies&) = delete;
  StagedCopies& operator=(const StagedCopies&) = delete;

  // Queues the copy on the stream; `from` may change or go as soon as this returns. Waits only where every piece is
  // still on its way. Throws Error(kMemory) if there is no pinned memory.
  void copy(Stream stream, void* to, const void* from, std::int64_t num_bytes);

 private:
  struct Piece {
    void* memory = nullptr;
    std::int64_t num_bytes = 0;
    std::unique_ptr<DeviceEvent> sent;
  };
  Piece& free_piece(std::int64_t num_bytes);

  DeviceRuntime& runtime_;
  std::mutex mutex_;
  std::vector<Piece> pieces_;
  std::size_t oldest_ = 0;
};

}  // namespace longspan
