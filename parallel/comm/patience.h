// Patience: how long a rank that waits has been looking.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace longspan {

// Counts the time that was spent looking. A rank that was itself stopped, or starved of a core, finds on its return a
// clock far ahead and messages it has had no occasion to take: that is no sign that the others are silent.
class Patience {
 public:
  explicit Patience(std::int64_t timeout_ms) : left_(std::chrono::milliseconds(timeout_ms)) {}

  // To be asked at least ten times a second.
  bool is_over() {
    const auto now = Clock::now();
    left_ -= std::min<Clock::duration>(now - last_look_, std::chrono::milliseconds(100));
    last_look_ = now;
    return left_ <= Clock::duration::zero();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::duration left_;
  Clock::time_point last_look_ = Clock::now();
};

}  // namespace longspan
