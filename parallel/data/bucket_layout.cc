#include "parallel/data/bucket_layout.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace longspan {
namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

class Cutter {
 public:
  explicit Cutter(std::span<const FlatRange> undivided) : undivided_(undivided) {}

  // Part `index` of `count` about equal ones.
  FlatRange part(const FlatRange& whole, std::int64_t index, std::int64_t count) const {
    const std::int64_t blocks = divide_up(whole.size(), kShardAlignment);
    const auto cut = [&](std::int64_t i) {
      return i == count ? whole.end : spared(std::min(whole.end, whole.begin + blocks * i / count * kShardAlignment));
    };
    return {cut(index), cut(index + 1)};
  }

 private:
  std::int64_t spared(std::int64_t cut) const {
    for (const FlatRange& range : undivided_)
      if (range.begin < cut && cut < range.end) return range.begin;
    return cut;
  }

  std::span<const FlatRange> undivided_;
};

void check_units(std::span<const FlatRange> units) {
  std::int64_t end = 0;
  for (const FlatRange& unit : units) {
    LS_CHECK(unit.begin == end && unit.end >= unit.begin, "a unit of elements {} to {} behind one that ends at {}",
             unit.begin, unit.end, end);
    end = unit.end;
  }
}

Bucket bucket_of(std::span<const FlatRange> units, const FlatRange& range, int num_replicas, const Cutter& cutter) {
  Bucket bucket{.range = range, .first_unit = -1, .last_unit = -1, .shards = {}};
  for (std::size_t u = 0; u < units.size(); ++u) {
    if (common_part(units[u], range).size() == 0) continue;
    if (bucket.first_unit < 0) bucket.first_unit = static_cast<std::int64_t>(u);
    bucket.last_unit = static_cast<std::int64_t>(u);
  }
  for (int r = 0; r < num_replicas; ++r) bucket.shards.push_back(cutter.part(range, r, num_replicas));
  return bucket;
}

}  // namespace

std::vector<FlatRange> BucketLayout::owned_by(int replica) const {
  std::vector<FlatRange> owned;
  for (auto bucket = buckets.rbegin(); bucket != buckets.rend(); ++bucket) {
    const FlatRange& shard = bucket->shards[static_cast<std::size_t>(replica)];
    if (shard.size() == 0) continue;
    if (!owned.empty() && owned.back().end == shard.begin)
      owned.back().end = shard.end;
    else
      owned.push_back(shard);
  }
  return owned;
}

std::int64_t BucketLayout::largest_bucket() const {
  std::int64_t largest = 0;
  for (const Bucket& bucket : buckets) largest = std::max(largest, bucket.range.size());
  return largest;
}

BucketLayout plan_buckets(std::span<const FlatRange> units, std::int64_t bucket_bytes, int num_replicas,
                          std::span<const FlatRange> undivided) {
  LS_CHECK(bucket_bytes > 0 && num_replicas > 0, "buckets of {} bytes over {} replicas", bucket_bytes, num_replicas);
  check_units(units);
  const std::int64_t limit =
      std::max<std::int64_t>(1, bucket_bytes / (kShardAlignment * static_cast<std::int64_t>(sizeof(float)))) *
      kShardAlignment;
  BucketLayout layout{.num_elements = units.empty() ? 0 : units.back().end,
                      .num_units = static_cast<std::int64_t>(units.size()),
                      .num_replicas = num_replicas,
                      .buckets = {}};
  const Cutter cutter(undivided);
  FlatRange open{layout.num_elements, layout.num_elements};
  for (std::size_t u = units.size(); u-- > 0;) {
    open.begin = units[u].begin;
    if (open.size() == 0 || (open.size() < limit && u > 0)) continue;
    // Blocks are whole, so that no part of as many is above the limit.
    const std::int64_t blocks = divide_up(open.size(), kShardAlignment);
    const std::int64_t count = divide_up(blocks, limit / kShardAlignment);
    for (std::int64_t i = count; i-- > 0;)
      if (const FlatRange range = cutter.part(open, i, count); range.size() > 0)
        layout.buckets.push_back(bucket_of(units, range, num_replicas, cutter));
    open.end = open.begin;
  }
  return layout;
}

}  // namespace longspan
