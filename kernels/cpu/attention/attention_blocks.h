// How an attention call is cut into blocks of query lanes, and which tasks each block meets.
//
// A lane is one query row of one query head. A block holds a few rows of all heads (or a subgroup of them) that share
// a key/value head, heads fastest, so that every key tile is packed once for the whole group, and a decode step or a
// routed task of a single row still fills vectors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops/attention.h"

namespace longspan::cpu {

struct BlockShape {
  static constexpr std::int64_t kMaxLanes = 256;

  std::int64_t heads_per_kv = 1;
  std::int64_t block_heads = 1;  // query heads side by side in a block
  std::int64_t head_blocks = 1;  // blocks of heads to a key/value head
  std::int64_t block_rows = 1;
  std::int64_t row_blocks = 0;
  std::int64_t key_tile = 64;
  std::int64_t kv_heads = 1;

  std::int64_t num_blocks() const { return kv_heads * head_blocks * row_blocks; }
};

// Blocks of at most `max_lanes` lanes over `rows` query rows.
BlockShape block_shape(const AttentionDesc& desc, std::int64_t rows, std::int64_t max_lanes, std::int64_t key_tile);

struct Block {
  std::int64_t kv_head = 0;
  std::int64_t head_begin = 0, num_heads = 0;
  std::int64_t row_begin = 0, num_rows = 0;
  std::int64_t num_lanes() const { return num_heads * num_rows; }
};

// Blocks are numbered with heads fastest: block = (row_block * kv_heads + kv_head) * head_blocks + head_block.
Block block_at(const BlockShape& shape, std::int64_t index, std::int64_t rows);

// A task as a block sees it: rows and heads counted from the block's first, keys as the tensor counts them.
struct TaskWindow {
  std::int64_t row_begin = 0, row_end = 0;
  std::int64_t head_begin = 0, head_end = 0;
  std::int64_t key_begin = 0, key_end = 0;  // keys that some row of the block sees
  std::int64_t lo = 0, hi = 0;              // row r sees key j iff lo <= j - r <= hi
  bool empty() const { return row_begin >= row_end || head_begin >= head_end || key_begin >= key_end; }
};
TaskWindow window_of(const AttentionTask& task, const Block& block);

// For every block the tasks that touch its rows and heads, in the order they were given. Memory: one int32 for each
// (task, block) that meet.
class TaskIndex {
 public:
  TaskIndex(std::span<const AttentionTask> tasks, const BlockShape& shape);
  std::span<const std::int32_t> of(std::int64_t block) const {
    return std::span(tasks_).subspan(begin_[block], begin_[block + 1] - begin_[block]);
  }

 private:
  std::vector<std::int64_t> begin_;
  std::vector<std::int32_t> tasks_;
};

}  // namespace longspan::cpu
