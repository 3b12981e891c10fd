#include "kernels/cuda/attention/device_tiles.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace longspan::cuda {
namespace {

constexpr std::int64_t kHeadBytes = 64;  // the count of drawn items, alone in its sector

Arena& workspace_of(const Exec& exec) {
  LS_CHECK(exec.workspace != nullptr, "attention on {} needs a workspace for the list of its work",
           exec.runtime->name());
  return *exec.workspace;
}

}  // namespace

UploadedTasks::UploadedTasks(const Exec& exec, std::span<const AttentionTask> tasks)
    : scope_(workspace_of(exec)), size_(static_cast<int>(tasks.size())) {
  const auto num_bytes = static_cast<std::int64_t>(tasks.size_bytes());
  void* memory = exec.workspace->allocate("attention tasks", MemoryCategory::kWorkspace, DType::kI8, {num_bytes}).data;
  exec.runtime->upload(exec.stream, memory, tasks.data(), num_bytes);
  data_ = static_cast<const AttentionTask*>(memory);
}

UploadedTiles::UploadedTiles(const Exec& exec, const AttentionTiles& tiles) : scope_(workspace_of(exec)) {
  const std::size_t item_bytes = tiles.items.size() * sizeof(TileItem);
  const std::size_t segment_bytes = tiles.segments.size() * sizeof(TileSegment);
  std::vector<std::byte> all(kHeadBytes + item_bytes + segment_bytes, std::byte{0});
  if (item_bytes > 0) std::memcpy(all.data() + kHeadBytes, tiles.items.data(), item_bytes);
  if (segment_bytes > 0) std::memcpy(all.data() + kHeadBytes + item_bytes, tiles.segments.data(), segment_bytes);
  const auto num_bytes = static_cast<std::int64_t>(all.size());
  auto* memory = static_cast<std::byte*>(
      exec.workspace->allocate("attention work", MemoryCategory::kWorkspace, DType::kI8, {num_bytes}).data);
  exec.runtime->upload(exec.stream, memory, all.data(), num_bytes);
  tiles_.next = reinterpret_cast<int*>(memory);
  tiles_.items = reinterpret_cast<const TileItem*>(memory + kHeadBytes);
  tiles_.segments = reinterpret_cast<const TileSegment*>(memory + kHeadBytes + item_bytes);
  tiles_.num_items = static_cast<int>(tiles.items.size());
}

int persistent_blocks(const Exec& exec, int multiprocessors, int blocks_per_multiprocessor, int num_items) {
  const int free = std::max(1, multiprocessors - exec.reserved_multiprocessors);
  return std::min(num_items, free * blocks_per_multiprocessor);
}

}  // namespace longspan::cuda
