// StageTraffic: what the ranks of a pipeline hand each other while they walk a schedule, when, and in which buffers. A
// pure function of the schedule.
#pragma once

#include <vector>

#include "parallel/pipeline/pipeline_schedule.h"

namespace longspan {

inline constexpr int kNoBuffer = -1, kNoRank = -1, kNoMessage = -1;

// A buffer holds one micro-batch's activations, or their gradient, between two stages. Messages between two ranks come
// in the order in which the one that sends them makes them; receives are posted in that order, some operations ahead of
// the one that needs them.
struct StageReceive {
  int peer = kNoRank;
  int buffer = kNoBuffer;
  int micro_batch = 0;
};

// One operation with what is to be done around it, in this order: post `receives`; wait for what has been received into
// `input`; wait for the send that last used `output`; run it; send `output`.
struct StageStep {
  PipelineOp op;
  std::vector<StageReceive> receives;
  int awaited_receive = kNoMessage;  // counted over the rank's receives in the order in which they are posted
  int awaited_send = kNoMessage;     // likewise over its sends
  int input = kNoBuffer;   // of a forward: activations, which stay there until the backward is done; of a backward: the
                           // gradient of the stage's output, which stays until the weights' half is done
  int output = kNoBuffer;  // of a forward: activations; of a backward: the gradient of the stage's input
  int send_to = kNoRank;   // kNoRank where there is no output, or the next stage is this rank's too
};

struct StageTraffic {
  std::vector<std::vector<StageStep>> steps;  // [rank], as the schedule's operations
  std::vector<int> buffers;                   // [rank], how many it needs at most
  int sends_in_flight = 0;                    // from one rank to another: later ones wait for the first to arrive
};

// The schedule is right, and may be of forwards alone: then what a forward reads is free after it. Sends in flight are
// as few as keep ranks from waiting for each other for ever.
StageTraffic plan_traffic(const PipelineSchedule& schedule);

// Distinct ordered pairs (from, to) of ranks that have neighbouring stages, in ascending order.
struct RankPair {
  int from = 0, to = 0;
  auto operator<=>(const RankPair&) const = default;
};
std::vector<RankPair> neighbours_of(const PipelineSchedule& schedule);

}  // namespace longspan
