// StreamClock: how long stretches of a device's stream took, told by marks in it; nobody waits while they run.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/core/exec.h"
#include "parallel/context/context_trace.h"
#include "parallel/context/executor.h"

namespace longspan {

class StreamClock {
 public:
  using Field = double ContextStats::*;

  // The runtime of exec must outlive it. With a trace it waits once for the stream, to know the host's time there.
  StreamClock(const Exec& exec, ContextTrace* trace);

  // Stretches from here on are of a new call; those of earlier ones that have ended are added to `totals`.
  void begin_call(ContextStats& totals);
  // One stretch after another. `event` goes to the trace, if there is one, with the stretch's times.
  void begin();
  void end(Field field, TraceEvent event);
  // Waits for all stretches; adds their seconds to totals, those of the newest call to `call`.
  void finish(ContextStats& call, ContextStats& totals);

 private:
  struct Stretch {
    std::unique_ptr<DeviceEvent> begin, end;
    Field field;
    std::int64_t call;
    TraceEvent event;
  };
  std::unique_ptr<DeviceEvent> mark();
  double take_first();

  DeviceRuntime& runtime_;
  const Stream stream_;
  ContextTrace* const trace_;
  std::unique_ptr<DeviceEvent> zero_;  // of the trace: where zero_ns_ was the host's time
  std::int64_t zero_ns_ = 0;
  std::unique_ptr<DeviceEvent> begun_;
  std::deque<Stretch> stretches_;
  std::vector<std::unique_ptr<DeviceEvent>> spares_;
  std::int64_t call_ = 0;
};

}  // namespace longspan
