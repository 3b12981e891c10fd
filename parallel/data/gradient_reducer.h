// GradientReducer: sums a rank's gradients over its replicas in the background, bucket by bucket as they get ready.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "kernels/core/exec.h"
#include "parallel/comm/communicator.h"
#include "parallel/data/bucket_layout.h"
#include "parallel/data/exposed_clock.h"
#include "parallel/data/pusher.h"
#include "parallel/data/side_group.h"

namespace longspan {

enum class ReductionResult : std::uint8_t {
  kWhole,     // every replica has all sums
  kOwnShard,  // each has those of BucketLayout::owned_by(its rank); the others' places hold its own part of the sum
};

struct TransferSeconds {
  double exposed = 0;    // in which this rank's work stood still for transfers, or its own thread moved them
  double under_way = 0;  // from the first to the last
};

// Each replica sends every other one that one's shard of a bucket, and sums what it gets of its own in rank order
// 0 … N-1: the bits of Communicator::all_reduce, on all replicas, whenever messages come. With kWhole it then sends the
// sums to all.
//
// Buckets are started in the layout's order, whatever the order of units. Over MPI a thread of its own looks after host
// memory; otherwise it moves in these calls. Where transfers run in order (NCCL), they are started at places of the
// program alone: in unit_done(), the sums of an earlier bucket too, and progress() does nothing. Then it uses
// `replicas` itself, which is to be split apart, so that nothing else comes to wait behind a bucket.
//
// All calls come from the rank's own thread. A peer's failure or a deadline that passes surfaces at one of them, as
// Error(kAborted).
class GradientReducer {
 public:
  // Of so many buckets the parts may be on their way to this rank at once.
  static constexpr int kBucketsUnderWay = 2;

  // gradients: [layout.num_elements] fp32 where exec says. Buffers for what peers send are taken from `buffers`, which
  // keeps them. Keeps references to `replicas` (layout.num_replicas ranks) and exec's runtime. Collective.
  GradientReducer(const Exec& exec, Communicator& replicas, const BucketLayout& layout, const Tensor& gradients,
                  Arena& buffers, ReductionResult result);

  // A step's reduction begins; that of the step before has been finished.
  void begin_step();
  // What exec.stream holds now completes this unit's gradients: until finish() they are the reducer's. Each unit once a
  // step, in any order.
  void unit_done(std::int64_t unit);
  // Pushes on what is under way. To be called often between other work; cheap.
  void progress();
  // All units are done. The sums are there for what exec.stream is given from now on.
  void finish();

  // Of the last step; on a device it waits until they are over.
  TransferSeconds seconds() { return {exposed_.seconds(), under_way_.seconds()}; }

  // What the constructor takes from `buffers`, to the byte.
  static std::int64_t buffer_bytes(const BucketLayout& layout, int replica);

 private:
  struct UnderWay {
    std::int64_t bucket;
    std::unique_ptr<PendingTransfers> transfers;
  };
  int rank() const { return parts_group_->rank(); }
  int size() const { return parts_group_->size(); }
  const FlatRange& shard(std::int64_t bucket, int replica) const;
  Tensor part_from(std::int64_t bucket, int replica) const;

  PushState step(Patient patient);
  void start_parts(std::int64_t bucket);
  void settle_parts();
  void sum(std::int64_t bucket);
  void start_sums(std::int64_t bucket);
  void wait(PendingTransfers& transfers);
  void count_done();

  const Exec exec_;
  const BucketLayout layout_;
  const Tensor gradients_;
  const ReductionResult result_;
  const SideGroup parts_group_, sums_group_;
  const bool in_order_;
  std::array<Tensor, kBucketsUnderWay> received_;  // [what peers send of a bucket]

  std::vector<char> unit_is_done_;
  std::int64_t num_units_left_ = 0;
  std::atomic<std::int64_t> num_ready_ = 0;  // buckets whose units are all done, from the first on
  // Changed by the steps alone.
  std::int64_t num_started_ = 0, num_done_;
  std::deque<UnderWay> parts_, sums_;

  ExposedClock exposed_;
  SpanClock under_way_;
  Pusher pusher_;  // last: its thread uses all of the above
};

}  // namespace longspan
