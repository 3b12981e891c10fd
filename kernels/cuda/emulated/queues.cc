#include "kernels/cuda/emulated/queues.h"

#include <atomic>

#include "kernels/cuda/emulated/recording.h"

namespace longspan::cuda::emulated {
namespace {

std::atomic<QueueTiming> current{QueueTiming::kAtOnce};

}  // namespace

void set_queue_timing(QueueTiming timing) {
  current = timing;
}

QueueTiming queue_timing() {
  return current;
}

void Queue::push(std::function<void()> work) {
  ++num_given_;
  if (recording) {
    awaited = false;
    return recording->add(std::move(work));
  }
  waiting_.push_back(std::move(work));
  if (timing_ == QueueTiming::kAtOnce) do_until(mark());
}

void Queue::do_until(std::int64_t mark) {
  while (done_ < mark && !waiting_.empty()) {
    const std::function<void()> work = std::move(waiting_.front());
    waiting_.pop_front();
    ++done_;  // before the work, which may wait for an event that waits for this queue's earlier work
    work();
  }
}

}  // namespace longspan::cuda::emulated
