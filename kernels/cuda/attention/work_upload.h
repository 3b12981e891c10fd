// The tiles of an attention call in the memory of a device.
#pragma once

#include <optional>

#include "kernels/core/exec.h"
#include "kernels/cuda/attention/attention_tiles.h"

namespace longspan::cuda {

// Queued on exec.stream; lies in exec.workspace, or in memory of its own where there is none, and is released with this
// object: later work on the stream alone may take its place.
class WorkUpload {
 public:
  WorkUpload(const Exec& exec, const AttentionTiles& tiles);
  ~WorkUpload();
  WorkUpload(const WorkUpload&) = delete;
  WorkUpload& operator=(const WorkUpload&) = delete;

  const TileItem* items() const { return reinterpret_cast<const TileItem*>(memory_); }
  const TileSegment* segments() const { return reinterpret_cast<const TileSegment*>(memory_ + segments_at_); }
  int num_items() const { return num_items_; }

 private:
  const Exec& exec_;
  std::optional<Arena::Scope> scope_;
  std::byte* memory_ = nullptr;
  std::int64_t num_bytes_ = 0, segments_at_ = 0;
  int num_items_ = 0;
};

}  // namespace longspan::cuda
