// The tiles of an attention call in the memory of a device.
#pragma once

#include "kernels/core/exec.h"
#include "kernels/cuda/attention/attention_tiles.h"

namespace longspan::cuda {

// A kernel takes it as an argument.
struct DeviceTiles {
  const TileItem* items = nullptr;
  const TileSegment* segments = nullptr;
  int num_items = 0;
  int* next = nullptr;  // the first item that no block has drawn yet: the blocks of one launch count it up
};

// Queued on exec.stream; lies in exec.workspace and is released with this object.
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
