// Blocks, windows and the task index against pair-by-pair enumeration.
#include "kernels/cpu/attention/attention_blocks.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <tuple>

namespace longspan::cpu {
namespace {

using Triple = std::tuple<std::int64_t, std::int64_t, std::int64_t>;  // head, row, key

AttentionDesc desc_of(std::int64_t heads, std::int64_t kv_heads) {
  AttentionDesc desc;
  desc.heads = heads;
  desc.kv_heads = kv_heads;
  return desc;
}

std::multiset<Triple> triples_of(const std::vector<AttentionTask>& tasks) {
  std::multiset<Triple> triples;
  for (const AttentionTask& t : tasks)
    for (std::int64_t h = t.head_begin; h < t.head_end; ++h)
      for (std::int64_t i = t.q_begin; i < t.q_end; ++i)
        for (std::int64_t j = t.kv_begin; j < t.kv_end; ++j) {
          const std::int64_t offset = (j - t.kv_begin) - (i - t.q_begin);
          if (t.band.lo <= offset && offset <= t.band.hi) triples.insert({h, i, j});
        }
  return triples;
}

std::multiset<Triple> triples_through_blocks(const std::vector<AttentionTask>& tasks, const BlockShape& shape,
                                             std::int64_t rows) {
  const TaskIndex index(tasks, shape);
  std::multiset<Triple> triples;
  for (std::int64_t b = 0; b < shape.num_blocks(); ++b) {
    const Block block = block_at(shape, b, rows);
    std::int32_t before = -1;
    for (const std::int32_t t : index.of(b)) {
      EXPECT_LT(before, t) << "tasks must come in the order they were given";
      before = t;
      const TaskWindow w = window_of(tasks[t], block);
      for (std::int64_t h = w.head_begin; h < w.head_end; ++h)
        for (std::int64_t r = w.row_begin; r < w.row_end; ++r)
          for (std::int64_t j = w.key_begin; j < w.key_end; ++j)
            if (w.lo <= j - r && j - r <= w.hi) triples.insert({block.head_begin + h, block.row_begin + r, j});
    }
  }
  return triples;
}

TEST(AttentionBlocks, CoverEveryLaneOnce) {
  for (const auto& [heads, kv_heads] : std::vector<std::pair<int, int>>{{1, 1}, {8, 2}, {6, 2}, {71, 1}, {200, 2}})
    for (const std::int64_t rows : {1, 5, 16, 97}) {
      const BlockShape shape = block_shape(desc_of(heads, kv_heads), rows, 32, 16);
      std::set<std::pair<std::int64_t, std::int64_t>> lanes;
      for (std::int64_t b = 0; b < shape.num_blocks(); ++b) {
        const Block block = block_at(shape, b, rows);
        EXPECT_LE(block.num_lanes(), std::max<std::int64_t>(32, shape.block_heads));
        for (std::int64_t h = block.head_begin; h < block.head_begin + block.num_heads; ++h) {
          EXPECT_EQ(h / (heads / kv_heads), block.kv_head);
          for (std::int64_t r = block.row_begin; r < block.row_begin + block.num_rows; ++r)
            EXPECT_TRUE(lanes.insert({h, r}).second);
        }
      }
      EXPECT_EQ(lanes.size(), static_cast<std::size_t>(heads * rows));
    }
}

TEST(AttentionBlocks, WindowsShowEachPairOnce) {
  std::mt19937_64 random(3);
  const auto pick = [&](std::int64_t bound) { return static_cast<std::int64_t>(random() % (bound + 1)); };
  for (int round = 0; round < 60; ++round) {
    const std::int64_t kv_heads = 1 + pick(2), heads = kv_heads * (1 + pick(4)), rows = 1 + pick(39), keys = pick(50);
    std::vector<AttentionTask> tasks(1 + pick(5));
    for (AttentionTask& t : tasks) {
      t.q_begin = pick(rows), t.q_end = t.q_begin + pick(rows - t.q_begin);
      t.kv_begin = pick(keys), t.kv_end = t.kv_begin + pick(keys - t.kv_begin);
      t.head_begin = pick(heads), t.head_end = t.head_begin + pick(heads - t.head_begin);
      if (pick(3) > 0) t.band.lo = pick(60) - 30;
      if (pick(3) > 0) t.band.hi = pick(60) - 30;
    }
    const BlockShape shape = block_shape(desc_of(heads, kv_heads), rows, 8, 4);
    EXPECT_EQ(triples_through_blocks(tasks, shape, rows), triples_of(tasks)) << "round " << round;
  }
}

}  // namespace
}  // namespace longspan::cpu
