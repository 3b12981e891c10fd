// Cuts an attention call into work items for one persistent launch.
//
// One side of the score matrix stays, cut into tiles of the tensor's rows; the other moves past each tile. Forward and
// dq keep queries, dk and dv keep keys. An item is one tile of one head (or of a few heads) with all the segments of
// tasks that touch it, so that every row of a result is loaded, added to and stored by exactly one block, whatever the
// tasks overlap: no race, no atomics, the same bits whichever block takes the item. Items come longest first; blocks
// draw them in that order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/core/platform.h"
#include "kernels/ops/attention.h"

namespace longspan::cuda {

// A task as one tile sees it. Rows are counted in their tensors. 32 bits, because devices read these.
struct TileSegment {
  std::int32_t begin = 0, end = 0;              // rows of the moving side that some row of the tile sees
  std::int32_t whole_begin = 0, whole_end = 0;  // those that every lane of the tile sees: no mask is needed
  std::int32_t row_begin = 0, row_end = 0;      // rows of the tile that the task has
  std::int32_t head_begin = 0, head_end = 0;    // query heads that the task has
  std::int32_t lo = 0, hi = 0;                  // row r of the tile sees row j of the moving side iff lo <= j - r <= hi
};

// Rows row_begin … of the staying side. `head` is the first query head of the tile, or the key/value head where keys
// stay. The item's segments are those numbered segment_begin … segment_end - 1, in the order of the tasks.
struct TileItem {
  std::int32_t row_begin = 0;
  std::int32_t head = 0;
  std::int32_t segment_begin = 0, segment_end = 0;
};

struct AttentionTiles {
  std::vector<TileItem> items;        // longest first
  std::vector<std::int64_t> costs;    // of the items: steps of the moving side, and what an item costs beside them
  std::vector<TileSegment> segments;  // shared by items whose heads see the same
};

struct TileShape {
  std::int64_t tile_lanes = 128;  // lanes of a tile; a lane is one row of one head
  // Query heads side by side in a tile, heads fastest: tasks of few rows still fill a tile. A divisor of tile_lanes and
  // of the query heads that share a key/value head.
  std::int64_t heads_per_tile = 1;
  std::int64_t step_rows = 64;  // rows of the moving side that are taken at a time
  std::int64_t item_steps = 1;  // what beginning and ending an item costs, in steps
  std::int64_t tile_rows() const { return tile_lanes / heads_per_tile; }
};

// Queries stay, keys move past: for forward and dq. `rows` is Tq.
AttentionTiles query_tiles(const AttentionDesc& desc, std::span<const AttentionTask> tasks, std::int64_t rows,
                           const TileShape& shape);
// Keys stay, queries move past, each head of the group in turn: for dk and dv. `rows` is Tk; heads_per_tile is 1.
AttentionTiles key_tiles(const AttentionDesc& desc, std::span<const AttentionTask> tasks, std::int64_t rows,
                         const TileShape& shape);

// The largest heads_per_tile, a power of two, that tasks of so few rows leave room for.
std::int64_t heads_per_tile_for(const AttentionDesc& desc, std::span<const AttentionTask> tasks,
                                std::int64_t tile_lanes);

// When the last of `workers` is done that take items in order, each as soon as it is free.
std::int64_t predicted_makespan(std::span<const std::int64_t> costs, std::int64_t workers);

struct RowRange {
  std::int32_t begin = 0, end = 0;
};
// What one lane sees of the moving side; {0, 0} if nothing.
LS_HD inline RowRange rows_seen_by(const TileSegment& s, std::int32_t row, std::int32_t head) {
  if (row < s.row_begin || row >= s.row_end || head < s.head_begin || head >= s.head_end) return {0, 0};
  const std::int32_t begin = row + s.lo > s.begin ? row + s.lo : s.begin;
  const std::int32_t end = row + s.hi + 1 < s.end ? row + s.hi + 1 : s.end;
  if (begin >= end) return {0, 0};
  return {begin, end};
}
// Whether every lane sees all of the rows begin … end - 1 of the moving side.
LS_HD inline bool is_whole(const TileSegment& s, std::int32_t begin, std::int32_t end) {
  return s.whole_begin <= begin && end <= s.whole_end;
}

}  // namespace longspan::cuda
