#include "kernels/cuda/emulated/grid_run.h"

#include <algorithm>

#include "kernels/cuda/emulated/block.h"

namespace longspan::cuda::emulated {
namespace {

constexpr std::int64_t kWindow = 8;
constexpr int kMaxIdleTurns = 1000;

thread_local int self_id = 0;

std::vector<std::int64_t> order_of_blocks(std::int64_t num_blocks, ThreadOrder order) {
  std::vector<std::int64_t> blocks;
  for (std::int64_t begin = 0; begin < num_blocks; begin += kWindow) {
    const auto size = static_cast<int>(std::min(kWindow, num_blocks - begin));
    order.seed += static_cast<std::uint64_t>(begin);
    Rounds rounds(order, size);
    for (const int each : rounds.next()) blocks.push_back(begin + each);
  }
  return blocks;
}

}  // namespace

GridRun::GridRun(const Grid& grid, const std::function<void()>& thread, ThreadOrder order)
    : grid_(grid),
      thread_(thread),
      order_(order_of_blocks(std::int64_t{grid.grid.x} * grid.grid.y * grid.grid.z, order)) {}

void GridRun::run() {
  self_id = 0;
  carry(0);
  for (std::size_t i = 0;; ++i) {  // their number may grow meanwhile
    std::unique_lock lock(mutex_);
    if (i == others_.size()) break;
    std::thread& other = others_[i];
    lock.unlock();
    other.join();
  }
  if (failure_) std::rethrow_exception(failure_);
}

void GridRun::carry(int self) {
  self_id = self;
  dim3 block;
  while (take(block)) {
    try {
      run_block(block);
    } catch (const Abandoned&) {
    } catch (...) {
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    --in_flight_;
  }
  const std::lock_guard lock(mutex_);
  hand_over();
}

// Not before the blocks of lower windows are done: so there are never more OS threads than blocks in a window.
bool GridRun::may_start() const {
  return !failure_ && next_ < order_.size() && (in_flight_ == 0 || next_ % kWindow != 0);
}

bool GridRun::take(dim3& block) {
  const std::lock_guard lock(mutex_);
  if (!may_start()) return false;
  const std::int64_t number = order_[next_++], x = grid_.grid.x, y = grid_.grid.y;
  block = dim3(static_cast<unsigned>(number % x), static_cast<unsigned>(number / x % y),
               static_cast<unsigned>(number / (x * y)));
  ++in_flight_;
  idle_turns_ = 0;
  return true;
}

// With the lock held.
void GridRun::hand_over() {
  if (stalled_.empty()) return;
  turn_ = stalled_.front();
  stalled_.pop_front();
  turn_changed_.notify_all();
}

bool GridRun::stalled() {
  std::unique_lock lock(mutex_);
  if (++idle_turns_ > kMaxIdleTurns) return false;
  const int self = self_id;
  if (may_start()) {
    turn_ = static_cast<int>(others_.size()) + 1;
    stalled_.push_back(self);
    others_.emplace_back([this, other = turn_] { carry(other); });
  } else if (!stalled_.empty()) {
    stalled_.push_back(self);
    hand_over();
  } else {
    return true;
  }
  turn_changed_.wait(lock, [&] { return turn_ == self; });
  if (failure_) throw Abandoned();
  return true;
}

void GridRun::run_block(dim3 index) {
  Block::run(*this, {grid_.kernel, grid_.grid, grid_.block, index, grid_.shared_bytes}, thread_);
}

}  // namespace longspan::cuda::emulated
