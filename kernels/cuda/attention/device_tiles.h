// What a call of attention is to do, in the memory of a device: its tasks, or the tiles they are cut into. It lies in
// exec.workspace; whoever reckons that workspace counts it in (work_list_bytes of parallel/context/executor.cc).
#pragma once

#include <span>

#include "kernels/core/exec.h"
#include "kernels/cuda/attention/attention_tiles.h"

namespace longspan::cuda {

// A kernel takes it as an argument.
struct DeviceTiles {
  const TileItem* items = nullptr;
  const TileSegment* segments = nullptr;
  int num_items = 0;
  int* next = nullptr;  // the first item that no block has drawn yet, for launches whose blocks draw: they count it up
};

// Queued on exec.stream; lies in exec.workspace and is released with this object.
class UploadedTasks {
 public:
  UploadedTasks(const Exec& exec, std::span<const AttentionTask> tasks);
  const AttentionTask* data() const { return data_; }
  int size() const { return size_; }

 private:
  Arena::Scope scope_;
  const AttentionTask* data_ = nullptr;
  int size_ = 0;
};

// The same of tiles.
class UploadedTiles {
 public:
  UploadedTiles(const Exec& exec, const AttentionTiles& tiles);
  const DeviceTiles& get() const { return tiles_; }

 private:
  Arena::Scope scope_;
  DeviceTiles tiles_;
};

// Blocks of a persistent launch over the tiles: as many as run at once on the multiprocessors that are not reserved.
int persistent_blocks(const Exec& exec, int multiprocessors, int blocks_per_multiprocessor, int num_items);

}  // namespace longspan::cuda
