// Work items of attention on GPUs against pair-by-pair enumeration, and how evenly they share out.
#include "kernels/cuda/attention/attention_tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <tuple>

namespace longspan::cuda {
namespace {

using Triple = std::tuple<std::int64_t, std::int64_t, std::int64_t>;  // head, query, key

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

// As a kernel goes through them: step by step, masked unless the tile says that no mask is needed.
template <class Visit>
void for_each_pair(const TileSegment& s, std::int64_t row, std::int64_t head, std::int64_t step, Visit visit) {
  const RowRange seen = rows_seen_by(s, static_cast<std::int32_t>(row), static_cast<std::int32_t>(head));
  for (std::int64_t begin = s.begin; begin < s.end; begin += step) {
    const bool whole = is_whole(s, static_cast<std::int32_t>(begin), static_cast<std::int32_t>(begin + step));
    for (std::int64_t j = begin; j < begin + step; ++j)
      if (whole || (seen.begin <= j && j < seen.end)) visit(j);
  }
}

std::multiset<Triple> triples_by_queries(const AttentionTiles& tiles, const TileShape& shape, std::int64_t rows) {
  std::multiset<Triple> triples;
  std::set<std::pair<std::int64_t, std::int64_t>> lanes;
  for (const TileItem& item : tiles.items)
    for (std::int64_t lane = 0; lane < shape.tile_lanes; ++lane) {
      const std::int64_t row = item.row_begin + lane / shape.heads_per_tile;
      const std::int64_t head = item.head + lane % shape.heads_per_tile;
      if (row >= rows) continue;
      EXPECT_TRUE(lanes.insert({row, head}).second) << "row " << row << " of head " << head << " is in two items";
      for (std::int64_t s = item.segment_begin; s < item.segment_end; ++s)
        for_each_pair(tiles.segments[s], row, head, shape.step_rows, [&](std::int64_t key) {
          triples.insert({head, row, key});
        });
    }
  return triples;
}

std::multiset<Triple> triples_by_keys(const AttentionTiles& tiles, const TileShape& shape, std::int64_t keys,
                                      std::int64_t heads_per_kv) {
  std::multiset<Triple> triples;
  std::set<std::pair<std::int64_t, std::int64_t>> lanes;
  for (const TileItem& item : tiles.items)
    for (std::int64_t key = item.row_begin; key < std::min(keys, item.row_begin + shape.tile_lanes); ++key) {
      EXPECT_TRUE(lanes.insert({key, item.head}).second) << "key " << key << " of head " << item.head << " is in two";
      for (std::int64_t s = item.segment_begin; s < item.segment_end; ++s) {
        const TileSegment& segment = tiles.segments[s];
        const std::int64_t first = std::max<std::int64_t>(segment.head_begin, item.head * heads_per_kv);
        const std::int64_t last = std::min<std::int64_t>(segment.head_end, (item.head + 1) * heads_per_kv);
        for (std::int64_t head = first; head < last; ++head)
          for_each_pair(segment, key, head, shape.step_rows, [&](std::int64_t row) {
            triples.insert({head, row, key});
          });
      }
    }
  return triples;
}

struct Extent {
  std::int64_t rows = 0, keys = 0, heads = 0;
};

std::vector<AttentionTask> random_tasks(std::mt19937& random, const Extent& extent) {
  const auto up_to = [&](std::int64_t limit) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(limit + 1));
  };
  const auto range = [&](std::int64_t limit) {
    const std::int64_t a = up_to(limit), b = up_to(limit);
    return std::pair(std::min(a, b), std::max(a, b));
  };
  std::vector<AttentionTask> tasks(static_cast<std::size_t>(up_to(5)));
  for (AttentionTask& t : tasks) {
    std::tie(t.q_begin, t.q_end) = range(extent.rows);
    std::tie(t.kv_begin, t.kv_end) = range(extent.keys);
    if (random() % 2 == 0)
      t.head_end = extent.heads;
    else
      std::tie(t.head_begin, t.head_end) = range(extent.heads);
    if (random() % 3 != 0) t.band.hi = up_to(2 * extent.keys) - extent.keys;
    if (random() % 3 == 0) t.band.lo = up_to(2 * extent.keys) - extent.keys;  // inverted at times
  }
  return tasks;
}

TEST(AttentionTiles, CoverEveryVisiblePairOnce) {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    const std::int64_t rows = 1 + random() % 70, keys = 1 + random() % 70;
    const std::int64_t kv_heads = 1 + random() % 2, heads_per_kv = std::vector{1, 2, 3, 4, 6}[random() % 5];
    const AttentionDesc desc = desc_of(kv_heads * heads_per_kv, kv_heads);
    const std::vector<AttentionTask> tasks = random_tasks(random, {rows, keys, desc.heads});
    const std::multiset<Triple> expected = triples_of(tasks);
    for (std::int64_t pack = 1; heads_per_kv % pack == 0; pack *= 2) {
      const TileShape shape{.tile_lanes = 16, .heads_per_tile = pack, .step_rows = 8};
      ASSERT_EQ(triples_by_queries(query_tiles(desc, tasks, rows, shape), shape, rows), expected) << round;
    }
    const TileShape shape{.tile_lanes = 16, .step_rows = 8};
    ASSERT_EQ(triples_by_keys(key_tiles(desc, tasks, keys, shape), shape, keys, heads_per_kv), expected) << round;
  }
}

TEST(AttentionTiles, ComeLongestFirstAndCostWhatTheySee) {
  const AttentionDesc desc = desc_of(2, 1);
  const std::vector<AttentionTask> tasks = {{0, 100, 0, 100, 0, 2, {Band::kUnboundedLow, 0}}};
  const TileShape shape{.tile_lanes = 16, .step_rows = 8, .item_steps = 3};
  const AttentionTiles queries = query_tiles(desc, tasks, 100, shape);
  // Rows 96 … 99 see 100 keys, 13 steps; those before 96, 80, … keys.
  EXPECT_EQ(queries.costs, (std::vector<std::int64_t>{16, 16, 15, 15, 13, 13, 11, 11, 9, 9, 7, 7, 5, 5}));
  EXPECT_EQ(queries.items.front().row_begin, 96);
  EXPECT_EQ(queries.segments.size(), 7u) << "both heads see the same";
  const AttentionTiles keys = key_tiles(desc, tasks, 100, shape);
  // Keys 0 … 15 are seen by all 100 rows of both heads.
  EXPECT_EQ(keys.costs, (std::vector<std::int64_t>{29, 25, 21, 17, 13, 9, 5}));
}

TEST(AttentionTiles, MaskOnlyWhereABandCutsATile) {
  const std::vector<AttentionTask> tasks = {{0, 64, 0, 64, 0, 1, {Band::kUnboundedLow, 0}}};
  const TileShape shape{.tile_lanes = 16, .step_rows = 8};
  const AttentionTiles tiles = query_tiles(desc_of(1, 1), tasks, 64, shape);
  ASSERT_EQ(tiles.items.size(), 4u);
  for (const TileItem& item : tiles.items) {
    const TileSegment& s = tiles.segments[item.segment_begin];
    EXPECT_EQ(s.end, item.row_begin + 16);
    EXPECT_EQ(s.whole_end, item.row_begin + 1);
    EXPECT_FALSE(is_whole(s, item.row_begin, item.row_begin + 8));
    EXPECT_EQ(is_whole(s, item.row_begin - 8, item.row_begin), item.row_begin > 0);
  }
}

TEST(AttentionTiles, ShortTasksPutHeadsSideBySide) {
  const auto packed = [](std::int64_t rows, std::int64_t heads, std::int64_t kv_heads) {
    const std::vector<AttentionTask> tasks = {{0, rows, 0, 500, 0, heads, {}}};
    return heads_per_tile_for(desc_of(heads, kv_heads), tasks, 128);
  };
  EXPECT_EQ(packed(1, 8, 1), 8);
  EXPECT_EQ(packed(1, 12, 1), 4);
  EXPECT_EQ(packed(64, 8, 1), 2);
  EXPECT_EQ(packed(65, 8, 1), 1);
  EXPECT_EQ(packed(1, 8, 8), 1);
}

TEST(AttentionTiles, RefuseMoreRowsThanDevicesCount) {
  EXPECT_THROW(query_tiles(desc_of(1, 1), {}, std::int64_t{1} << 30, {}), Error);
}

// Two hundred tasks of 128 to 16K tokens on the 132 multiprocessors of an H100.
TEST(AttentionTiles, ShareOutAMixedBatch) {
  std::mt19937 random(11);
  const AttentionDesc desc = desc_of(32, 8);
  std::vector<AttentionTask> tasks;
  std::int64_t at = 0;
  for (int n = 0; n < 200; ++n) {
    const auto length = static_cast<std::int64_t>(128 * std::pow(128.0, random() / 4294967296.0));
    tasks.push_back({at, at + length, at, at + length, 0, 32, {Band::kUnboundedLow, 0}});
    at += length;
  }
  const auto efficiency = [](const AttentionTiles& tiles) {
    const auto total = static_cast<double>(std::accumulate(tiles.costs.begin(), tiles.costs.end(), std::int64_t{0}));
    return total / 132 / static_cast<double>(predicted_makespan(tiles.costs, 132));
  };
  EXPECT_GE(efficiency(query_tiles(desc, tasks, at, {})), 0.99);
  EXPECT_GE(efficiency(key_tiles(desc, tasks, at, {})), 0.99);
  // One document that is far longer than the rest, and few heads.
  const AttentionDesc few = desc_of(4, 1);
  EXPECT_GE(efficiency(query_tiles(few, tasks, at, {})), 0.85);
  EXPECT_GE(efficiency(key_tiles(few, tasks, at, {})), 0.85);
}

TEST(PredictedMakespan, GivesEachItemToWhoeverIsFree) {
  const std::vector<std::int64_t> costs = {5, 4, 3, 3, 1};
  EXPECT_EQ(predicted_makespan(costs, 1), 16);
  EXPECT_EQ(predicted_makespan(costs, 2), 8);
  EXPECT_EQ(predicted_makespan(costs, 9), 5);
  EXPECT_EQ(predicted_makespan({}, 3), 0);
}

}  // namespace
}  // namespace longspan::cuda
