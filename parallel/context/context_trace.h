// ContextTrace: what one rank did in running a plan, and when, for a timeline.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace longspan {

// Events of one track never overlap. Operands and results under way are tracks of their own because they do: results of
// a step travel under the tasks of the next, beside its operands.
enum class TraceTrack : std::uint8_t { kCompute, kWaiting, kCopies, kOperands, kResults };
inline constexpr int kNumTraceTracks = 5;
std::string_view name_of(TraceTrack track);  // as a timeline shows it

struct TraceEvent {
  std::string name;  // "forward step 3", "kv of step 3", "merge dkv"
  TraceTrack track = TraceTrack::kCompute;
  int step = 0;
  std::int64_t begin_ns = 0, end_ns = 0;  // of this process's steady clock
  std::int64_t pairs = 0;                 // kCompute: visible pairs times heads
  std::int64_t num_bytes = 0;             // kOperands, kResults: sent by this rank
};

// In the order in which they ended. Transfers end when this rank sees that they are done, which it looks for between
// chunks of tasks. On a device there are kCompute and kWaiting alone: its compute stream tells no more.
struct ContextTrace {
  std::vector<TraceEvent> events;
};

}  // namespace longspan
