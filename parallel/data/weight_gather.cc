#include "parallel/data/weight_gather.h"

namespace longspan {

WeightGather::WeightGather(const Exec& exec, Communicator& replicas, const BucketLayout& layout, const Tensor& weights)
    : exec_(exec),
      layout_(layout),
      weights_(weights),
      group_(replicas, exec.device),
      in_order_(replicas.runs_in_order(exec.device)),
      needed_(static_cast<std::size_t>(layout.num_units)),
      num_done_(num_buckets()),
      num_started_(num_buckets()),
      exposed_(exec),
      under_way_(exec),
      pusher_(pusher_for(replicas, exec.device), [this](Patient patient) { return step(patient); }) {
  LS_CHECK(layout.num_replicas == replicas.size(), "buckets for {} replicas in a group of {}", layout.num_replicas,
           replicas.size());
  LS_CHECK(weights.is_contiguous() && weights.numel() == layout.num_elements && weights.device == exec.device,
           "weights {} on {} in buckets of {} elements", weights.describe(), name_of(weights.device),
           layout.num_elements);
  for (std::int64_t place = 0; place < num_buckets(); ++place)
    for (std::int64_t unit = at(place).first_unit; unit <= at(place).last_unit; ++unit)
      needed_[static_cast<std::size_t>(unit)] = place + 1;
}

const Bucket& WeightGather::at(std::int64_t place) const {
  return layout_.buckets[static_cast<std::size_t>(num_buckets() - 1 - place)];
}

void WeightGather::start() {
  pusher_.while_still([&] {
    LS_CHECK(num_done_ == num_buckets(),
             "weights are to be gathered, but of the gather before {} of {} buckets are done", num_done_.load(),
             num_buckets());
    if (group_->size() > 1) num_done_ = num_started_ = 0;
    under_way_.reset();
  });
  exposed_.reset();
  if (group_->size() == 1 || num_buckets() == 0) return;
  const ExposedClock::Call call(exposed_);
  pusher_.tell();
}

void WeightGather::progress() {
  if (num_done_.load(std::memory_order_acquire) == num_buckets()) return;
  const ExposedClock::Call call(exposed_);
  pusher_.look();
}

void WeightGather::wait_until_done(std::int64_t num_buckets) {
  if (num_done_.load(std::memory_order_acquire) >= num_buckets) return;
  const ExposedClock::Call call(exposed_);
  pusher_.wait_until([&] { return num_done_ >= num_buckets; });
}

void WeightGather::wait_for(std::int64_t unit) {
  LS_CHECK(unit >= 0 && unit < layout_.num_units, "unit {} of {}", unit, layout_.num_units);
  wait_until_done(needed_[static_cast<std::size_t>(unit)]);
}

void WeightGather::finish() {
  wait_until_done(num_buckets());
}

PushState WeightGather::step(Patient patient) {
  const auto start_more = [&] {
    while (num_started_ < num_buckets() && static_cast<int>(under_way_buckets_.size()) < kBucketsUnderWay)
      start_bucket(num_started_++);
  };
  start_more();
  while (!under_way_buckets_.empty()) {
    PendingTransfers& first = *under_way_buckets_.front().transfers;
    if (patient == Patient::kNo && (in_order_ || !first.test())) break;
    exposed_.measure([&] { first.wait(); });
    under_way_buckets_.pop_front();
    start_more();
    if (num_done_ + 1 == num_buckets()) under_way_.end();
    num_done_.fetch_add(1, std::memory_order_release);
    patient = Patient::kNo;  // one is enough to come nearer to what is waited for
  }
  return under_way_buckets_.empty() ? PushState::kIdle : PushState::kBusy;
}

void WeightGather::start_bucket(std::int64_t place) {
  under_way_.begin();
  const Bucket& bucket = at(place);
  const int rank = group_->rank(), size = group_->size();
  std::vector<Send> sends;
  std::vector<Receive> receives;
  const auto shard_of = [&](int replica) {
    const FlatRange& shard = bucket.shards[static_cast<std::size_t>(replica)];
    return weights_.narrow(0, shard.begin, shard.end);
  };
  for (int step = 1; step < size; ++step) {
    const int to = (rank + step) % size, from = (rank + size - step) % size;
    if (const Tensor own = shard_of(rank); own.numel() > 0)
      sends.push_back({to, own.data, own.num_bytes(), own.device});
    if (const Tensor theirs = shard_of(from); theirs.numel() > 0)
      receives.push_back({from, theirs.data, theirs.num_bytes(), theirs.device});
  }
  under_way_buckets_.push_back({place, group_->start(sends, receives, fmt::format("weights of bucket {}", place))});
}

}  // namespace longspan
