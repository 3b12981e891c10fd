#include "kernels/cuda/emulated/order.h"

#include <algorithm>
#include <mutex>
#include <numeric>

namespace longspan::cuda::emulated {
namespace {

std::mutex mutex;
ThreadOrder current;

}  // namespace

void set_thread_order(ThreadOrder order) {
  const std::lock_guard lock(mutex);
  current = order;
}

ThreadOrder thread_order() {
  const std::lock_guard lock(mutex);
  return current;
}

Rounds::Rounds(ThreadOrder order, int num_threads)
    : order_(order), random_(order.seed * 2 + 1), threads_(static_cast<std::size_t>(num_threads)) {
  std::iota(threads_.begin(), threads_.end(), 0);
  if (order.kind == OrderKind::kReversed) std::reverse(threads_.begin(), threads_.end());
}

const std::vector<int>& Rounds::next() {
  if (order_.kind != OrderKind::kShuffled) return threads_;
  for (std::size_t i = threads_.size(); i > 1; --i) {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;  // Knuth's linear congruence
    std::swap(threads_[i - 1], threads_[(random_ >> 33) % i]);
  }
  return threads_;
}

}  // namespace longspan::cuda::emulated
