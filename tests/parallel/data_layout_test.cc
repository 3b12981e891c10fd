// Buckets and shards: every element in exactly one of each, of the size that was asked for, in the order of readiness.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/core/error.h"
#include "parallel/data/bucket_layout.h"

namespace longspan {
namespace {

std::vector<FlatRange> units_of(const std::vector<std::int64_t>& sizes) {
  std::vector<FlatRange> units;
  for (const std::int64_t size : sizes) {
    const std::int64_t begin = units.empty() ? 0 : units.back().end;
    units.push_back({begin, begin + size});
  }
  return units;
}

const std::vector<std::vector<std::int64_t>> kShapes = {
    {},       {0},      {0, 0, 0},     {1},           {31},           {32},
    {33},     {97, 89}, {64, 0, 64},   {1, 1, 1, 1},  {1009, 2003},   {5000, 320, 320, 320, 96},
    {96, 96}, {0, 7},   {7, 0, 0, 13}, {320, 0, 320}, {1 << 20, 100},
};

TEST(BucketLayout, HoldsEveryElementOnce) {
  for (const auto& sizes : kShapes)
    for (const std::int64_t bucket_bytes : {1, 128, 300, 1000, 4096, 1 << 30})
      for (const int replicas : {1, 2, 3, 5, 8, 100}) {
        const std::vector<FlatRange> units = units_of(sizes);
        SCOPED_TRACE(fmt::format("{} units, buckets of {} bytes, {} replicas", units.size(), bucket_bytes, replicas));
        const BucketLayout layout = plan_buckets(units, bucket_bytes, replicas);
        std::int64_t left = layout.num_elements;
        ASSERT_EQ(left, units.empty() ? 0 : units.back().end);
        for (const Bucket& bucket : layout.buckets) {
          ASSERT_EQ(bucket.range.end, left);
          ASSERT_GT(bucket.range.size(), 0);
          ASSERT_LE(bucket.range.size() * 4, std::max<std::int64_t>(bucket_bytes, kShardAlignment * 4));
          left = bucket.range.begin;
          ASSERT_EQ(static_cast<int>(bucket.shards.size()), replicas);
          std::int64_t end = bucket.range.begin;
          for (const FlatRange& shard : bucket.shards) {
            ASSERT_EQ(shard.begin, end);
            ASSERT_GE(shard.end, shard.begin);
            if (shard.end != bucket.range.end) {
              ASSERT_EQ((shard.end - bucket.range.begin) % kShardAlignment, 0);
            }
            // As even as whole blocks allow.
            ASSERT_LE(shard.size(), bucket.range.size() / replicas + 2 * kShardAlignment);
            end = shard.end;
          }
          ASSERT_EQ(end, bucket.range.end);
          for (std::int64_t u = 0; u < layout.num_units; ++u) {
            const FlatRange& unit = units[static_cast<std::size_t>(u)];
            const bool meets = unit.begin < bucket.range.end && bucket.range.begin < unit.end && unit.size() > 0;
            if (meets) {
              ASSERT_GE(u, bucket.first_unit);
              ASSERT_LE(u, bucket.last_unit);
            }
            if (u == bucket.first_unit || u == bucket.last_unit) {
              ASSERT_TRUE(meets);
            }
          }
        }
        ASSERT_EQ(left, 0);

        std::vector<char> owners(static_cast<std::size_t>(layout.num_elements));
        for (int r = 0; r < replicas; ++r) {
          std::int64_t end = -1;
          for (const FlatRange& owned : layout.owned_by(r)) {
            ASSERT_GT(owned.begin, end);
            ASSERT_GT(owned.size(), 0);
            end = owned.end;
            for (std::int64_t i = owned.begin; i < owned.end; ++i) ++owners[static_cast<std::size_t>(i)];
          }
        }
        ASSERT_EQ(std::count(owners.begin(), owners.end(), 1), layout.num_elements);
      }
}

std::vector<FlatRange> ranges_of(const BucketLayout& layout) {
  std::vector<FlatRange> ranges;
  for (const Bucket& bucket : layout.buckets) ranges.push_back(bucket.range);
  return ranges;
}

TEST(BucketLayout, PutsSmallUnitsTogetherAndCutsLargeOnes) {
  // Buckets of 128 elements: the last unit in two, two small ones as one, the next one alone since it opens a bucket
  // that the large one then fills.
  const BucketLayout layout = plan_buckets(units_of({320, 64, 64, 64, 160}), 512, 2);
  const std::vector<FlatRange> want = {{576, 672}, {512, 576}, {384, 512}, {256, 384}, {128, 256}, {0, 128}};
  EXPECT_EQ(ranges_of(layout), want);
  EXPECT_EQ(layout.buckets[3].first_unit, 0);
  EXPECT_EQ(layout.buckets[3].last_unit, 1);
}

// Every cut at a multiple of 32 falls inside one of these, or at its ends.
TEST(BucketLayout, CutsNoUndividedRange) {
  const std::vector<FlatRange> units = units_of({96, 640, 4096, 96});
  const std::vector<FlatRange> undivided = {{32, 96}, {96, 128}, {192, 512}, {640, 736}, {736, 1984}, {4800, 4832}};
  for (const std::int64_t bucket_bytes : {1, 128, 300, 1000, 4096, 1 << 30})
    for (const int replicas : {1, 2, 3, 8, 100}) {
      SCOPED_TRACE(fmt::format("buckets of {} bytes, {} replicas", bucket_bytes, replicas));
      const BucketLayout layout = plan_buckets(units, bucket_bytes, replicas, undivided);
      std::int64_t left = layout.num_elements;
      for (const Bucket& bucket : layout.buckets) {
        ASSERT_EQ(bucket.range.end, left);
        ASSERT_GT(bucket.range.size(), 0);
        left = bucket.range.begin;
        ASSERT_LE(bucket.range.size() * 4, std::max<std::int64_t>(bucket_bytes, 128) + (1984 - 736) * 4);
        std::int64_t end = bucket.range.begin;
        for (const FlatRange& shard : bucket.shards) {
          ASSERT_EQ(shard.begin, end);
          ASSERT_GE(shard.end, shard.begin);
          end = shard.end;
          for (const FlatRange& range : undivided) ASSERT_FALSE(range.begin < end && end < range.end);
        }
        ASSERT_EQ(end, bucket.range.end);
      }
      ASSERT_EQ(left, 0);
    }
}

TEST(FlatRanges, WithoutAHole) {
  const std::vector<FlatRange> ranges = {{0, 10}, {20, 30}, {30, 40}};
  EXPECT_EQ(without(ranges, {10, 20}), ranges);
  EXPECT_EQ(without(ranges, {0, 40}), std::vector<FlatRange>{});
  EXPECT_EQ(without(ranges, {5, 5}), ranges);
  EXPECT_EQ(without(ranges, {3, 7}), (std::vector<FlatRange>{{0, 3}, {7, 10}, {20, 30}, {30, 40}}));
  EXPECT_EQ(without(ranges, {5, 35}), (std::vector<FlatRange>{{0, 5}, {35, 40}}));
  EXPECT_EQ(total_size(without(ranges, {29, 31})), 28);
}

TEST(BucketLayout, CountsInSixtyFourBits) {
  const std::int64_t huge = std::int64_t{70} << 30;
  const BucketLayout layout = plan_buckets(units_of({huge, 5}), std::int64_t{64} << 30, 1000);
  EXPECT_EQ(layout.num_elements, huge + 5);
  EXPECT_EQ(layout.buckets.back().shards.back().end, layout.buckets.back().range.end);
  EXPECT_LE(layout.largest_bucket(), std::int64_t{16} << 30);
}

TEST(BucketLayout, RefusesUnitsWithGaps) {
  EXPECT_THROW(plan_buckets(std::vector<FlatRange>{{0, 5}, {6, 7}}, 100, 1), Error);
  EXPECT_THROW(plan_buckets(std::vector<FlatRange>{{1, 5}}, 100, 1), Error);
  EXPECT_THROW(plan_buckets(std::vector<FlatRange>{{0, 5}, {4, 7}}, 100, 1), Error);
}

}  // namespace
}  // namespace longspan
