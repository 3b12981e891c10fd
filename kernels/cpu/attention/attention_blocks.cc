#include "kernels/cpu/attention/attention_blocks.h"

namespace longspan::cpu {
namespace {

// Calls visit(block) for every block that the task's rows and heads touch.
template <class Visit>
void for_each_block(const AttentionTask& task, const BlockShape& shape, Visit visit) {
  if (task.q_begin >= task.q_end || task.head_begin >= task.head_end || task.kv_begin >= task.kv_end) return;
  const auto head_block_of = [&](std::int64_t head) {
    return head / shape.heads_per_kv * shape.head_blocks + head % shape.heads_per_kv / shape.block_heads;
  };
  const std::int64_t first = head_block_of(task.head_begin), last = head_block_of(task.head_end - 1);
  const std::int64_t last_row_block = (task.q_end - 1) / shape.block_rows;
  for (std::int64_t r = task.q_begin / shape.block_rows; r <= last_row_block; ++r)
    for (std::int64_t h = first; h <= last; ++h) visit(r * shape.kv_heads * shape.head_blocks + h);
}

}  // namespace

BlockShape block_shape(const AttentionDesc& desc, std::int64_t rows, std::int64_t max_lanes, std::int64_t key_tile) {
  constexpr std::int64_t kMaxBlockHeads = 64;
  BlockShape shape;
  shape.kv_heads = desc.kv_heads;
  shape.heads_per_kv = desc.heads / desc.kv_heads;
  shape.head_blocks = (shape.heads_per_kv + kMaxBlockHeads - 1) / kMaxBlockHeads;
  shape.block_heads = (shape.heads_per_kv + shape.head_blocks - 1) / shape.head_blocks;
  shape.block_rows = std::max<std::int64_t>(1, max_lanes / shape.block_heads);
  shape.row_blocks = (rows + shape.block_rows - 1) / shape.block_rows;
  shape.key_tile = key_tile;
  return shape;
}

Block block_at(const BlockShape& shape, std::int64_t index, std::int64_t rows) {
  const std::int64_t head_block = index % shape.head_blocks;
  const std::int64_t row_block = index / (shape.head_blocks * shape.kv_heads);
  Block block;
  block.kv_head = index / shape.head_blocks % shape.kv_heads;
  block.head_begin = block.kv_head * shape.heads_per_kv + head_block * shape.block_heads;
  block.num_heads = std::min(shape.block_heads, shape.heads_per_kv - head_block * shape.block_heads);
  block.row_begin = row_block * shape.block_rows;
  block.num_rows = std::min(shape.block_rows, rows - block.row_begin);
  return block;
}

TaskWindow window_of(const AttentionTask& task, const Block& block) {
  TaskWindow window;
  window.row_begin = std::max<std::int64_t>(0, task.q_begin - block.row_begin);
  window.row_end = std::min(block.num_rows, task.q_end - block.row_begin);
  window.head_begin = std::max<std::int64_t>(0, task.head_begin - block.head_begin);
  window.head_end = std::min(block.num_heads, task.head_end - block.head_begin);
  const std::int64_t shift = task.kv_begin - (task.q_begin - block.row_begin);
  window.lo = task.band.lo + shift;
  window.hi = task.band.hi + shift;
  window.key_begin = std::max(task.kv_begin, window.row_begin + window.lo);
  window.key_end = std::min(task.kv_end, window.row_end - 1 + window.hi + 1);
  return window;
}

TaskIndex::TaskIndex(std::span<const AttentionTask> tasks, const BlockShape& shape)
    : begin_(static_cast<std::size_t>(shape.num_blocks() + 1), 0) {
  for (const AttentionTask& task : tasks) for_each_block(task, shape, [&](std::int64_t b) { ++begin_[b + 1]; });
  for (std::size_t b = 1; b < begin_.size(); ++b) begin_[b] += begin_[b - 1];
  tasks_.resize(static_cast<std::size_t>(begin_.back()));
  std::vector<std::int64_t> next(begin_.begin(), begin_.end() - 1);
  for (std::size_t t = 0; t < tasks.size(); ++t)
    for_each_block(tasks[t], shape, [&](std::int64_t b) { tasks_[next[b]++] = static_cast<std::int32_t>(t); });
}

}  // namespace longspan::cpu
