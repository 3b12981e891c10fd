#include "parallel/comm/wait_clock.h"

namespace longspan {

void WaitClock::begin() {
  if (used_ == waits_.size())
    waits_.push_back({runtime_.make_event(EventTiming::kOn), runtime_.make_event(EventTiming::kOn)});
  waits_[used_].begin->record(stream_);
}

void WaitClock::end() {
  waits_[used_++].end->record(stream_);
}

double WaitClock::take_seconds() {
  double milliseconds = 0;
  for (std::size_t i = 0; i < used_; ++i) {
    waits_[i].end->wait();
    milliseconds += waits_[i].end->milliseconds_since(*waits_[i].begin);
  }
  used_ = 0;
  return 1e-3 * milliseconds;
}

}  // namespace longspan
