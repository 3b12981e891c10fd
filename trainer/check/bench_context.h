// Times context-parallel attention by any scheme: what its ranks compute, what they wait for, and what they send beside
// what the plan says.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/context/executor.h"
#include "trainer/launch/rank_device.h"

namespace longspan {

struct ContextBenchCase {
  std::string scheme;
  ContextProblem problem;
  std::int64_t head_dim = 64, value_dim = 64;
  DType dtype = DType::kF32;
};

// kFree: the timed runs compute the same tasks on whatever is in the buffers and send nothing, which is what the plan
// would take with communication for nothing. Bytes are then those of the untimed run before them.
enum class Transfers : std::uint8_t { kSent, kFree };

struct ContextBenchOptions {
  int threads = 1;      // of a rank
  int repetitions = 5;  // after one that is not timed
  Overlap overlap = Overlap::kUnderTasks;
  Transfers transfers = Transfers::kSent;
};

// Of one direction. Times are medians over the repetitions unless they say otherwise.
struct ContextBenchDirection {
  double median_ms = 0, least_ms = 0;  // of the rank that takes longest
  double compute_ms = 0;               // of the rank that computes longest
  double exposed_ms = 0;               // of the rank that waits longest: for bytes, or for ranks that are behind
  // What all ranks compute together over what one rank takes for the same problem by itself, both the least of the
  // repetitions: in time that passed, and in time that a core was theirs.
  double work_ratio = 0, cpu_work_ratio = 0;
  std::vector<std::int64_t> bytes_sent;     // by rank: counted by the communicator …
  std::vector<std::int64_t> planned_bytes;  // … and foretold by the plan; equal
  double balance_of_totals = 1, balance_of_steps = 1;
  // Of the rank that needs most for what is not its own: slots that were booked, and what is alive at once.
  std::int64_t booked_buffer_bytes = 0, peak_buffer_bytes = 0;
};

struct ContextBenchRow {
  ContextBenchCase which;
  int ranks = 1;
  std::string refusal;      // why the scheme does not run this; then there is no more
  std::string plan_scheme;  // what plans it: the scheme, or what auto chose
  ContextBenchDirection forward, backward;
};

// Kernel seconds of one rank by itself: {forward, backward}. Rank 0 keeps them, so that rows of one problem share one
// measurement.
struct KernelSeconds {
  double forward = 0, backward = 0, cpu_forward = 0, cpu_backward = 0;
};
using KernelBaselines = std::map<std::tuple<std::uint64_t, std::int64_t, std::int64_t, DType, int>, KernelSeconds>;

// What each rank brings.
struct ContextBenchRank {
  Communicator& world;
  KernelBaselines& baselines;     // used by rank 0 alone
  ContextTrace* trace = nullptr;  // what this rank did in the last repetition
  const RankDevice& device = host_device();
};

// Collective over rank.world; the same row on every rank. Throws Error(kUsage) for a problem that makes no sense,
// Error(kInternal) where a rank does not send the bytes of the plan.
ContextBenchRow bench_context(const ContextBenchRank& rank, const ContextBenchCase& which,
                              const ContextBenchOptions& options);

}  // namespace longspan
