// The order in which the emulated GPU lets threads, and neighbouring blocks, run: a test's knob. A kernel that lacks a
// barrier, or adds what blocks bring in the order of their coming, gives other results under another order.
#pragma once

#include <cstdint>
#include <vector>

namespace longspan::cuda::emulated {

enum class OrderKind : std::uint8_t { kForward, kReversed, kShuffled };
struct ThreadOrder {
  OrderKind kind = OrderKind::kForward;
  std::uint64_t seed = 0;  // of kShuffled: another order each time round
};

// Of launches from now on, by every OS thread. Starts as kForward.
void set_thread_order(ThreadOrder order);
ThreadOrder thread_order();

// Gives the threads of a block in turn, round by round.
class Rounds {
 public:
  Rounds(ThreadOrder order, int num_threads);
  const std::vector<int>& next();

 private:
  ThreadOrder order_;
  std::uint64_t random_;
  std::vector<int> threads_;
};

}  // namespace longspan::cuda::emulated
