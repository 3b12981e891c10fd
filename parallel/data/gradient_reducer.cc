#include "parallel/data/gradient_reducer.h"

#include <algorithm>

#include "kernels/ops/layer_ops.h"

namespace longspan {
namespace {

// Of the thread that pushes: the other cores compute.
Exec with_one_thread(Exec exec) {
  exec.num_threads = 1;
  return exec;
}

std::int64_t largest_shard(const BucketLayout& layout, int replica) {
  std::int64_t largest = 0;
  for (const Bucket& bucket : layout.buckets)
    largest = std::max(largest, bucket.shards[static_cast<std::size_t>(replica)].size());
  return largest;
}

// A bucket's parts of a replica's shard lie one after another, each at a cache line.
std::int64_t padded(std::int64_t num_elements) {
  return (num_elements + kShardAlignment - 1) / kShardAlignment * kShardAlignment;
}

std::int64_t elements_received(const BucketLayout& layout, int replica) {
  return padded(largest_shard(layout, replica)) * (layout.num_replicas - 1);
}

}  // namespace

std::int64_t GradientReducer::buffer_bytes(const BucketLayout& layout, int replica) {
  return kBucketsUnderWay * elements_received(layout, replica) * size_of(DType::kF32);
}

GradientReducer::GradientReducer(const Exec& exec, Communicator& replicas, const BucketLayout& layout,
                                 const Tensor& gradients, Arena& buffers, ReductionResult result)
    : exec_(pusher_for(replicas, exec.device) == PushedBy::kThread ? with_one_thread(exec) : exec),
      layout_(layout),
      gradients_(gradients),
      result_(result),
      parts_group_(replicas, exec.device),
      sums_group_(replicas, exec.device),
      in_order_(replicas.runs_in_order(exec.device)),
      unit_is_done_(static_cast<std::size_t>(layout.num_units)),
      num_done_(static_cast<std::int64_t>(layout.buckets.size())),
      exposed_(exec),
      under_way_(exec),
      pusher_(pusher_for(replicas, exec.device), [this](Patient patient) { return step(patient); }) {
  LS_CHECK(layout.num_replicas == replicas.size(), "buckets for {} replicas in a group of {}", layout.num_replicas,
           replicas.size());
  LS_CHECK(gradients.dtype == DType::kF32 && gradients.is_contiguous() && gradients.numel() == layout.num_elements &&
               gradients.device == exec.device,
           "gradients {} on {} in buckets of {} elements", gradients.describe(), name_of(gradients.device),
           layout.num_elements);
  const std::int64_t num_elements = elements_received(layout, rank());
  if (num_elements == 0) return;
  for (Tensor& received : received_)
    received = buffers.allocate("gradients from replicas", MemoryCategory::kTransfers, DType::kF32, {num_elements});
}

const FlatRange& GradientReducer::shard(std::int64_t bucket, int replica) const {
  return layout_.buckets[static_cast<std::size_t>(bucket)].shards[static_cast<std::size_t>(replica)];
}

// Of this rank's shard; its own part stands in the gradients.
Tensor GradientReducer::part_from(std::int64_t bucket, int replica) const {
  const FlatRange& own = shard(bucket, rank());
  if (replica == rank()) return gradients_.narrow(0, own.begin, own.end);
  const std::int64_t place = (replica < rank() ? replica : replica - 1) * padded(own.size());
  return received_[static_cast<std::size_t>(bucket % kBucketsUnderWay)].narrow(0, place, place + own.size());
}

void GradientReducer::begin_step() {
  pusher_.while_still([&] {
    LS_CHECK(num_done_ == static_cast<std::int64_t>(layout_.buckets.size()),
             "a step's reduction begins, but of the one before {} of {} buckets are done", num_done_,
             layout_.buckets.size());
    num_ready_ = num_started_ = num_done_ = 0;
    under_way_.reset();
  });
  std::fill(unit_is_done_.begin(), unit_is_done_.end(), 0);
  num_units_left_ = layout_.num_units;
  exposed_.reset();
}

void GradientReducer::unit_done(std::int64_t unit) {
  LS_CHECK(unit >= 0 && unit < layout_.num_units && !unit_is_done_[static_cast<std::size_t>(unit)],
           "gradients of unit {} of {} are told to be done twice, or there is no such unit", unit, layout_.num_units);
  unit_is_done_[static_cast<std::size_t>(unit)] = 1;
  --num_units_left_;
  if (size() == 1) return;
  const auto is_ready = [&](const Bucket& bucket) {
    return std::all_of(unit_is_done_.begin() + bucket.first_unit, unit_is_done_.begin() + bucket.last_unit + 1,
                       [](char done) { return done != 0; });
  };
  std::int64_t ready = num_ready_;
  while (ready < static_cast<std::int64_t>(layout_.buckets.size()) &&
         is_ready(layout_.buckets[static_cast<std::size_t>(ready)]))
    ++ready;
  if (ready == num_ready_) return progress();
  num_ready_ = ready;
  const ExposedClock::Call call(exposed_);
  pusher_.tell();
}

void GradientReducer::progress() {
  if (size() == 1) return;
  const ExposedClock::Call call(exposed_);
  pusher_.look();
}

void GradientReducer::finish() {
  LS_CHECK(num_units_left_ == 0, "the reduction is to be finished, but {} of {} units are not done", num_units_left_,
           layout_.num_units);
  if (size() == 1) {
    num_done_ = static_cast<std::int64_t>(layout_.buckets.size());
    return;
  }
  const ExposedClock::Call call(exposed_);
  pusher_.wait_until([&] { return num_done_ == static_cast<std::int64_t>(layout_.buckets.size()); });
}

PushState GradientReducer::step(Patient patient) {
  const std::int64_t ready = num_ready_;
  const auto start_ready = [&] {
    for (; num_started_ < ready; ++num_started_) {
      if (static_cast<int>(parts_.size()) == kBucketsUnderWay) {
        if (!in_order_) return;
        settle_parts();
      }
      start_parts(num_started_);
    }
  };
  const auto is_done = [&](PendingTransfers& transfers) { return !in_order_ && transfers.test(); };
  start_ready();
  if (!parts_.empty() && (patient == Patient::kYes || is_done(*parts_.front().transfers))) {
    settle_parts();
    start_ready();
  }
  const bool waits = patient == Patient::kYes && parts_.empty();
  while (!sums_.empty() && (waits || is_done(*sums_.front().transfers))) {
    wait(*sums_.front().transfers);
    sums_.pop_front();
    count_done();
  }
  return parts_.empty() && sums_.empty() && num_started_ == ready ? PushState::kIdle : PushState::kBusy;
}

void GradientReducer::count_done() {
  if (++num_done_ == static_cast<std::int64_t>(layout_.buckets.size())) under_way_.end();
}

// On a device what follows is held back, and that is the time that shows; the host's calls are measured as a whole.
void GradientReducer::wait(PendingTransfers& transfers) {
  exposed_.measure([&] { transfers.wait(); });
}

void GradientReducer::start_parts(std::int64_t bucket) {
  under_way_.begin();
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (int step = 1; step < size(); ++step) {  // each begins with its neighbour: no rank is everybody's first
    const int to = (rank() + step) % size(), from = (rank() + size() - step) % size();
    if (const FlatRange& theirs = shard(bucket, to); theirs.size() > 0) {
      const Tensor part = gradients_.narrow(0, theirs.begin, theirs.end);
      sends.push_back({to, part.data, part.num_bytes(), part.device});
    }
    if (shard(bucket, rank()).size() > 0) {
      const Tensor part = part_from(bucket, from);
      receives.push_back({from, part.data, part.num_bytes(), part.device});
    }
  }
  parts_.push_back({bucket, parts_group_->start(sends, receives, fmt::format("gradients of bucket {}", bucket))});
}

void GradientReducer::settle_parts() {
  const std::int64_t bucket = parts_.front().bucket;
  wait(*parts_.front().transfers);
  parts_.pop_front();
  if (shard(bucket, rank()).size() > 0) sum(bucket);
  if (result_ == ReductionResult::kWhole)
    start_sums(bucket);
  else
    count_done();
}

// Ends in the gradients, and until this rank's turn comes in the first part's buffer.
void GradientReducer::sum(std::int64_t bucket) {
  Tensor so_far = part_from(bucket, 0);
  for (int r = 1; r < size(); ++r) {
    const Tensor out = r < rank() ? so_far : part_from(bucket, rank());
    add(exec_, so_far, part_from(bucket, r), out);
    so_far = out;
  }
}

void GradientReducer::start_sums(std::int64_t bucket) {
  std::vector<Send> sends;
  std::vector<Receive> receives;
  const FlatRange& own = shard(bucket, rank());
  for (int step = 1; step < size(); ++step) {
    const int to = (rank() + step) % size(), from = (rank() + size() - step) % size();
    if (own.size() > 0) {
      const Tensor sums = gradients_.narrow(0, own.begin, own.end);
      sends.push_back({to, sums.data, sums.num_bytes(), sums.device});
    }
    if (const FlatRange& theirs = shard(bucket, from); theirs.size() > 0) {
      const Tensor sums = gradients_.narrow(0, theirs.begin, theirs.end);
      receives.push_back({from, sums.data, sums.num_bytes(), sums.device});
    }
  }
  sums_.push_back({bucket, sums_group_->start(sends, receives, fmt::format("sums of bucket {}", bucket))});
}

}  // namespace longspan
