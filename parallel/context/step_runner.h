// StepRunner: runs a RankProgram once. It moves operands and results; what a task computes is its caller's.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/core/exec.h"
#include "parallel/comm/communicator.h"
#include "parallel/context/executor.h"
#include "parallel/context/payload.h"
#include "parallel/context/rank_program.h"
#include "parallel/context/stream_clock.h"

namespace longspan {

// This rank's own tokens of each kind, all heads; absent where the direction has no such kind. Results are added to.
class OwnPayloads {
 public:
  Payload& operator[](TransferKind kind) { return payloads_[static_cast<std::size_t>(kind)]; }
  const Payload& operator[](TransferKind kind) const { return payloads_[static_cast<std::size_t>(kind)]; }

 private:
  std::array<Payload, 6> payloads_;
};

class StepRunner {
 public:
  // Books the slots in exec.workspace; they live as long as the caller's scope. Keeps references. On a device all work
  // is queued on exec.stream, and `clock` is told how long it took; on the host it is null, and run() says it itself.
  StepRunner(const Exec& exec, Communicator& comm, const AttentionDesc& desc, const ContextOptions& options,
             const RankProgram& program, const OwnPayloads& own, StreamClock* clock);

  // One call of the operator: tasks whose rows, keys and heads are those of the views, and their attention.
  struct Call {
    AttentionDesc desc;
    std::span<const AttentionTask> tasks;
    Payload query, query_result, output_gradient, key, key_result;
  };
  using Compute = std::function<void(const Call&)>;
  ContextStats run(const Compute& compute);

  // What the constructor takes from the workspace.
  static std::int64_t workspace_bytes(const RankProgram& program);

 private:
  using Clock = std::chrono::steady_clock;
  struct Posted {
    std::unique_ptr<PendingTransfers> transfers;  // null: none under way
    std::string what;
    TraceTrack track = TraceTrack::kOperands;
    int step = 0;
    std::int64_t num_bytes = 0;
    Clock::time_point begin;
  };

  void add_buffer(const TransferBuffer& buffer, Tensor memory);
  // As it is computed with; as it travels.
  Payload at(TransferKind kind, const RankProgram::Place& place) const;
  Payload on_wire(const RankProgram::Message& message) const;
  // The format in which what travels differs from what is computed with.
  HopFormat format_of(TransferKind kind) const;
  void encode(TransferKind kind, const Payload& plain, const Payload& wire) const;
  void decode_arrivals(std::span<const RankProgram::Message> receives);
  void encode_departures(std::span<const RankProgram::Message> sends);
  Posted post(TraceTrack track, std::span<const RankProgram::Message> sends,
              std::span<const RankProgram::Message> receives);
  void wait(Posted& posted);
  void test(Posted& posted);
  void end(Posted& posted);
  void pack(const RankProgram::Copy& copy) const;
  void clear(int buffer) const;
  void merge(const RankProgram::Copy& sum) const;
  void run_tasks(const RankProgram::TaskGroup& group, const Compute& compute);
  // Runs body(), which packs, clears, merges or recodes.
  template <class Body>
  void copy(std::string_view verb, TransferKind kind, Body body);
  // Runs body() and adds its time to the field, and to the trace.
  template <class Body>
  void measure(double ContextStats::*field, TraceEvent event, Body body);
  // Once a stretch of time is over; only where there is a trace.
  void record(TraceEvent event, Clock::time_point begin, Clock::time_point end);

  const Exec exec_;
  Communicator& comm_;
  const AttentionDesc desc_;
  const ContextOptions options_;
  const RankProgram& program_;
  const OwnPayloads& own_;
  StreamClock* const clock_;
  std::vector<Payload> buffers_, wires_;  // by buffer of the program; alike where what travels is plain
  int step_ = 0;
  Posted operands_posted_, results_posted_;
  ContextStats stats_;
};

}  // namespace longspan
