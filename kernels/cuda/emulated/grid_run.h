// GridRun: the blocks of one launch, one at a time, in an order that a test chooses.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/cuda/emulated/grid.h"
#include "kernels/cuda/emulated/order.h"

namespace longspan::cuda::emulated {

// Blocks start by windows of a few neighbours: in the order of their numbers, or, as the thread order says, reversed or
// shuffled within each window. A block that waits for another gives its turn away: since each OS thread has but one
// __shared__ memory, the next block runs on an OS thread of its own, and only one of these runs at a time.
class GridRun {
 public:
  GridRun(const Grid& grid, const std::function<void()>& thread, ThreadOrder order);
  // Throws what a block threw.
  void run();

  // Called by blocks. A thread of the block did something; or all that can run only look at what others may change. The
  // latter returns once another block has had its turn, false where all have looked in vain for long.
  void moved() { idle_turns_ = 0; }
  [[nodiscard]] bool stalled();

 private:
  struct Abandoned {};  // another block failed

  // Runs blocks until there is none to start, then gives the turn away.
  void carry(int self);
  bool take(dim3& block);
  bool may_start() const;
  void hand_over();
  void run_block(dim3 index);

  const Grid& grid_;
  const std::function<void()>& thread_;
  std::vector<std::int64_t> order_;
  std::size_t next_ = 0;
  int in_flight_ = 0, idle_turns_ = 0;

  std::mutex mutex_;
  std::condition_variable turn_changed_;
  int turn_ = 0;             // whose turn it is, an index of OS threads; the caller's is 0
  std::deque<int> stalled_;  // who waits for a turn, longest first
  std::deque<std::thread> others_;
  std::exception_ptr failure_;
};

}  // namespace longspan::cuda::emulated
