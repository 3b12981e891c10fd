// Streams of the emulated GPU: queues of work that host code gave it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "kernels/core/device_runtime.h"

namespace longspan::cuda::emulated {

// When queued work is done: a test's knob. kAtWaits: as late as the promises of streams and events allow, so that a
// wait that is missing shows.
enum class QueueTiming : std::uint8_t { kAtOnce, kAtWaits };
// Of queues made from now on. Starts as kAtOnce.
void set_queue_timing(QueueTiming timing);
QueueTiming queue_timing();

class Recording;

// The work of one stream. Whoever uses it holds the one lock of all emulated streams.
class Queue : public std::enable_shared_from_this<Queue> {
 public:
  explicit Queue(QueueTiming timing) : timing_(timing) {}
  void push(std::function<void()> work);
  // How much was given so far; do_until(mark()) does all of it.
  std::int64_t mark() const { return done_ + static_cast<std::int64_t>(waiting_.size()); }
  bool is_done(std::int64_t mark) const { return mark <= done_; }
  void do_until(std::int64_t mark);
  void do_one() { do_until(done_ + 1); }
  // How often something was given, to be done or recorded.
  std::int64_t num_given() const { return num_given_; }

  // Of Recording: while it is set, work is added to it instead.
  std::shared_ptr<Recording> recording;
  bool awaited = false;  // whether another queue of the recording waits for all that this one holds

 private:
  QueueTiming timing_;
  std::int64_t done_ = 0, num_given_ = 0;
  std::deque<std::function<void()>> waiting_;
};

}  // namespace longspan::cuda::emulated
