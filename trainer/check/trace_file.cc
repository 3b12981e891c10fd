#include "trainer/check/trace_file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <limits>
#include <vector>

#include "kernels/core/error.h"

namespace longspan {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kBarriers = 15;

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// How far this rank's clock is ahead of rank 0's. Ranks leave a barrier at about the same time, but for one that finds
// its core taken; so the median of several.
std::int64_t clock_lead_ns(Communicator& comm) {
  if (comm.backend() == "local") return 0;  // threads share a clock
  std::vector<std::int64_t> mine;
  for (int i = 0; i < kBarriers; ++i) {
    comm.barrier();
    mine.push_back(now_ns());
  }
  std::vector<std::int64_t> first = mine;
  comm.broadcast(Tensor(first.data(), DType::kI64, {kBarriers}), 0);
  for (std::size_t i = 0; i < mine.size(); ++i) mine[i] -= first[i];
  std::nth_element(mine.begin(), mine.begin() + kBarriers / 2, mine.end());
  return mine[kBarriers / 2];
}

Json name_event(const char* what, int rank, int track, std::string_view name) {
  return {{"name", what}, {"ph", "M"}, {"pid", rank}, {"tid", track}, {"args", {{"name", name}}}};
}

Json json_of(const TraceEvent& event, int rank, std::int64_t origin_ns) {
  Json args{{"step", event.step}};
  if (event.track == TraceTrack::kCompute) args["pairs"] = event.pairs;
  if (event.track == TraceTrack::kOperands || event.track == TraceTrack::kResults) args["bytes"] = event.num_bytes;
  return {{"name", event.name},
          {"ph", "X"},
          {"pid", rank},
          {"tid", static_cast<int>(event.track)},
          {"ts", 1e-3 * static_cast<double>(event.begin_ns - origin_ns)},
          {"dur", 1e-3 * static_cast<double>(event.end_ns - event.begin_ns)},
          {"args", args}};
}

// The first event of any rank, in rank 0's time.
std::int64_t first_ns(Communicator& comm, const ContextTrace& trace, std::int64_t lead_ns) {
  std::int64_t first = std::numeric_limits<std::int64_t>::max() / 2;  // where nobody has recorded anything
  for (const TraceEvent& event : trace.events) first = std::min(first, event.begin_ns - lead_ns);
  comm.all_reduce(Tensor(&first, DType::kI64, {1}), ReduceOp::kMin);
  return first;
}

}  // namespace

std::string trace_text(Communicator& comm, const ContextTrace& trace) {
  const std::int64_t lead = clock_lead_ns(comm), origin = first_ns(comm, trace, lead) + lead;
  std::string mine = name_event("process_name", comm.rank(), 0, fmt::format("rank {}", comm.rank())).dump();
  for (int track = 0; track < kNumTraceTracks; ++track)
    mine += ",\n" + name_event("thread_name", comm.rank(), track, name_of(static_cast<TraceTrack>(track))).dump();
  for (const TraceEvent& event : trace.events) mine += ",\n" + json_of(event, comm.rank(), origin).dump();
  std::string text = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
  const std::vector<std::string> all = gather_strings(comm, mine);
  for (std::size_t rank = 0; rank < all.size(); ++rank) text += (rank == 0 ? "" : ",\n") + all[rank];
  return text + "\n]}\n";
}

void write_trace_file(Communicator& comm, const ContextTrace& trace, const std::string& path) {
  const std::string text = trace_text(comm, trace);
  if (comm.rank() != 0) return;
  std::ofstream file(path, std::ios::trunc);
  file << text << std::flush;
  LS_REQUIRE(kEnvironment, file, "{}: cannot write the trace there; give a path in a folder that can be written", path);
}

}  // namespace longspan
