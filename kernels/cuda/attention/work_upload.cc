#include "kernels/cuda/attention/work_upload.h"

#include <cstring>

namespace longspan::cuda {

WorkUpload::WorkUpload(const Exec& exec, const AttentionTiles& tiles)
    : exec_(exec), num_items_(static_cast<int>(tiles.items.size())) {
  if (num_items_ == 0) return;
  const std::size_t item_bytes = tiles.items.size() * sizeof(TileItem);
  std::vector<std::byte> all(item_bytes + tiles.segments.size() * sizeof(TileSegment));
  std::memcpy(all.data(), tiles.items.data(), item_bytes);
  std::memcpy(all.data() + item_bytes, tiles.segments.data(), all.size() - item_bytes);
  num_bytes_ = static_cast<std::int64_t>(all.size());
  segments_at_ = static_cast<std::int64_t>(item_bytes);
  if (exec.workspace) {
    scope_.emplace(*exec.workspace);
    memory_ = static_cast<std::byte*>(
        exec.workspace->allocate("attention work", MemoryCategory::kWorkspace, DType::kI8, {num_bytes_}).data);
  } else {
    memory_ = static_cast<std::byte*>(exec.runtime->allocate(num_bytes_));
    LS_REQUIRE(kMemory, memory_, "attention: {} refuses {} bytes for the list of its work", exec.runtime->name(),
               num_bytes_);
  }
  exec.runtime->upload(exec.stream, memory_, all.data(), num_bytes_);
}

WorkUpload::~WorkUpload() {
  if (scope_ || !memory_) return;
  try {
    exec_.runtime->synchronize(exec_.stream);  // the kernel reads it
  } catch (const Error&) {                     // what failed shows at the next call that may throw
  }
  exec_.runtime->release(memory_, num_bytes_);
}

}  // namespace longspan::cuda
