// WeightGather: after each replica updated its shards of the weights, all get the others' in the background.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>

#include "kernels/core/exec.h"
#include "parallel/comm/communicator.h"
#include "parallel/data/bucket_layout.h"
#include "parallel/data/exposed_clock.h"
#include "parallel/data/gradient_reducer.h"
#include "parallel/data/pusher.h"
#include "parallel/data/side_group.h"

namespace longspan {

// Takes no memory: shards go from where they are to where they belong. Buckets go in the order of first use, the
// embedding's before the layers' before the head's. Who moves them, and what failures do: as with GradientReducer;
// where transfers run in order they are started in start() and wait_for().
class WeightGather {
 public:
  // Of so many buckets the shards may be on their way at once.
  static constexpr int kBucketsUnderWay = 4;

  // weights: [layout.num_elements] flat, fp32 or bf16, where exec says; the layout is that of the gradients. Keeps
  // references to `replicas` and exec's runtime. Collective.
  WeightGather(const Exec& exec, Communicator& replicas, const BucketLayout& layout, const Tensor& weights);

  // What exec.stream holds now completes this rank's shards; the weights are the gather's, unit by unit, until
  // wait_for(). An earlier gather has been finished.
  void start();
  // The unit's weights are there for what exec.stream is given from now on. At once where nothing is under way.
  void wait_for(std::int64_t unit);
  // Pushes on what is under way. Cheap.
  void progress();
  // All weights are there. To be called before this goes: transfers under way that are dropped end all ranks.
  void finish();

  // Of the last gather, as GradientReducer::seconds().
  TransferSeconds seconds() { return {exposed_.seconds(), under_way_.seconds()}; }

 private:
  struct UnderWay {
    std::int64_t place;
    std::unique_ptr<PendingTransfers> transfers;
  };
  std::int64_t num_buckets() const { return static_cast<std::int64_t>(layout_.buckets.size()); }
  const Bucket& at(std::int64_t place) const;
  PushState step(Patient patient);
  void start_bucket(std::int64_t place);
  void wait_until_done(std::int64_t num_buckets);

  const Exec exec_;
  const BucketLayout layout_;
  const Tensor weights_;
  const SideGroup group_;
  const bool in_order_;
  std::vector<std::int64_t> needed_;  // [unit] buckets in the order of use up to its last one
  std::atomic<std::int64_t> num_done_;
  // Changed by the steps alone.
  std::int64_t num_started_;
  std::deque<UnderWay> under_way_buckets_;

  ExposedClock exposed_;
  SpanClock under_way_;
  Pusher pusher_;  // last: its thread uses all of the above
};

}  // namespace longspan
