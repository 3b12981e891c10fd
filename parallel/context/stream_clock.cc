#include "parallel/context/stream_clock.h"

#include <chrono>
#include <utility>

namespace longspan {

StreamClock::StreamClock(const Exec& exec, ContextTrace* trace)
    : runtime_(*exec.runtime), stream_(exec.stream), trace_(trace) {
  if (trace_ == nullptr) return;
  zero_ = mark();
  zero_->wait();
  zero_ns_ =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::unique_ptr<DeviceEvent> StreamClock::mark() {
  std::unique_ptr<DeviceEvent> event;
  if (spares_.empty()) {
    event = runtime_.make_event(EventTiming::kOn);
  } else {
    event = std::move(spares_.back());
    spares_.pop_back();
  }
  event->record(stream_);
  return event;
}

void StreamClock::begin() {
  begun_ = mark();
}

void StreamClock::end(Field field, TraceEvent event) {
  stretches_.push_back({std::move(begun_), mark(), field, call_, std::move(event)});
}

// The seconds of the oldest stretch, which has ended.
double StreamClock::take_first() {
  Stretch& stretch = stretches_.front();
  const double milliseconds = stretch.end->milliseconds_since(*stretch.begin);
  if (trace_) {
    const auto ns_since_zero = [&](const DeviceEvent& event) {
      return zero_ns_ + static_cast<std::int64_t>(1e6 * event.milliseconds_since(*zero_));
    };
    stretch.event.begin_ns = ns_since_zero(*stretch.begin);
    stretch.event.end_ns = ns_since_zero(*stretch.end);
    trace_->events.push_back(std::move(stretch.event));
  }
  spares_.push_back(std::move(stretch.begin));
  spares_.push_back(std::move(stretch.end));
  stretches_.pop_front();
  return milliseconds / 1000;
}

void StreamClock::begin_call(ContextStats& totals) {
  ++call_;
  while (!stretches_.empty() && stretches_.front().end->is_reached()) {
    const Field field = stretches_.front().field;
    totals.*field += take_first();
  }
}

void StreamClock::finish(ContextStats& call, ContextStats& totals) {
  if (!stretches_.empty()) stretches_.back().end->wait();
  while (!stretches_.empty()) {
    const Field field = stretches_.front().field;
    const bool newest = stretches_.front().call == call_;
    const double seconds = take_first();
    totals.*field += seconds;
    if (newest) call.*field += seconds;
  }
}

}  // namespace longspan
