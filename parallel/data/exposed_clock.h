// ExposedClock: how long a rank's own work stood still for transfers: the host's, or what is queued on its device.
#pragma once

#include <chrono>
#include <memory>

#include "kernels/core/exec.h"
#include "parallel/comm/wait_clock.h"

namespace longspan {

class ExposedClock {
 public:
  // The runtime of exec must outlive it.
  explicit ExposedClock(const Exec& exec) : device_(exec.device), waits_(*exec.runtime, exec.stream) {}

  // A call that looks after transfers: on the host all of it is the rank's time.
  class Call {
   public:
    explicit Call(ExposedClock& clock) : clock_(clock), begun_(Clock::now()) {}
    ~Call() {
      if (clock_.device_ == Device::kCpu) clock_.in_calls_ += Clock::now() - begun_;
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    ExposedClock& clock_;
    const std::chrono::steady_clock::time_point begun_;
  };

  // Calls wait(): on a device what the stream is given next is held back, and that is the rank's time.
  template <class Wait>
  void measure(Wait wait) {
    if (device_ == Device::kCpu) return wait();
    waits_.begin();
    wait();
    waits_.end();
  }

  void reset() {
    seconds();
    in_calls_ = {};
    on_device_ = 0;
  }
  // Since reset(). On a device it waits until the waits so far are over.
  double seconds() {
    on_device_ += waits_.take_seconds();
    return std::chrono::duration<double>(in_calls_).count() + on_device_;
  }

 private:
  using Clock = std::chrono::steady_clock;
  const Device device_;
  Clock::duration in_calls_{};
  WaitClock waits_;
  double on_device_ = 0;
};

// From a first moment to a last one of a stream.
class SpanClock {
 public:
  explicit SpanClock(const Exec& exec)
      : stream_(exec.stream),
        begin_(exec.runtime->make_event(EventTiming::kOn)),
        end_(exec.runtime->make_event(EventTiming::kOn)) {}
  void reset() { begun_ = false; }
  // The first call since reset() counts.
  void begin() {
    if (!begun_) begin_->record(stream_);
    begun_ = true;
  }
  void end() { end_->record(stream_); }
  // Waits for the end on a device.
  double seconds() const {
    if (!begun_) return 0;
    end_->wait();
    return 1e-3 * end_->milliseconds_since(*begin_);
  }

 private:
  const Stream stream_;
  const std::unique_ptr<DeviceEvent> begin_, end_;
  bool begun_ = false;
};

}  // namespace longspan
