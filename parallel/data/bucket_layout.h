// BucketLayout: how a rank's flat gradients are cut into buckets, each reduced as one, and these into a shard a
// replica.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/data/flat_range.h"

namespace longspan {

struct Bucket {
  FlatRange range;
  std::int64_t first_unit = 0, last_unit = 0;  // whose elements it holds; both included
  std::vector<FlatRange> shards;               // [replica] one after another; some may be empty
};

// Depends on its arguments alone, so all replicas have the same.
struct BucketLayout {
  std::int64_t num_elements = 0;
  std::int64_t num_units = 0;
  int num_replicas = 1;
  std::vector<Bucket> buckets;  // in the order in which gradients get ready: from the last element to the first

  // The elements that a replica sums, and with ZeRO updates: ascending, no two of them touching.
  std::vector<FlatRange> owned_by(int replica) const;
  std::int64_t largest_bucket() const;  // in elements
};

// Units are what gets ready together (embedding, layers, head): ranges one after another from element 0, in the order
// of use; some may be empty. From the last unit on they are put together until they are bucket_bytes of fp32 or more,
// and what is more is cut into equal buckets of at most that size. Buckets and shards are cut at multiples of
// kShardAlignment, so any number of elements goes over any number of replicas. Never inside one of the undivided
// ranges, each of which lies in a unit: there the cut comes before, and a bucket may get larger by what it spares.
// Throws Error(kInternal) where units leave gaps.
inline constexpr std::int64_t kShardAlignment = 32;  // a cache line of bf16
BucketLayout plan_buckets(std::span<const FlatRange> units, std::int64_t bucket_bytes, int num_replicas,
                          std::span<const FlatRange> undivided = {});

}  // namespace longspan
