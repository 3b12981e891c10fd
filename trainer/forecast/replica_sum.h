// Replica sum: what it takes to add up gradients over the ranks that hold the same weights, and to hand out what comes
// of them.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/pipeline/timeline.h"
#include "trainer/forecast/machine.h"

namespace longspan {

// Ranks with the same weights, which stand together: every so many of them share a node.
struct Replicas {
  int ranks = 1;
  int ranks_per_node = 0;  // 0: all on one
};

// Seconds in which every rank sends its part of so many bytes to each of the others and adds what it gets: half of an
// all-reduce, whose other half takes as long.
double scatter_seconds(const Replicas& replicas, const Machine& machine, double num_bytes);

// A span of time.
struct Stretch {
  double begin = 0, end = 0;
  double seconds() const { return end - begin; }
};

// When the gradients of a rank are summed, in buckets behind each other, each once the last micro-batch's backward has
// completed it. `seconds` is for all of them; backward completes a chunk's gradients evenly from the begin of its last
// operation to the end. With kOnCore nothing happens before the rank's last operation ends.
struct BucketPlan {
  double seconds = 0;
  std::int64_t buckets = 1;
  std::vector<double> shares;  // of each chunk in the gradients; together 1
  TransferOverlap overlap = TransferOverlap::kHidden;
};
Stretch sum_in_buckets(const std::vector<Timeline::Span>& spans, const BucketPlan& plan);

}  // namespace longspan
