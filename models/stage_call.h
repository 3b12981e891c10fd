// StageCall: what a pass of one micro-batch through a stage is given to compute with.
#pragma once

#include <span>

#include "kernels/core/exec.h"
#include "models/activation_offload.h"
#include "models/weight_watch.h"
#include "parallel/context/executor.h"

namespace longspan {

// One rank's share of one packed sequence, in the local order of the plan's home.
struct MicroBatch {
  Tensor tokens;     // [c] int32; read by a stage that embeds
  Tensor labels;     // [c] int32, -1: no loss here; read by a stage with the head
  Tensor positions;  // [c] int32, inside the document
};

// Core attention for each entry of config.pattern, same order; all over the same home and communicator.
using AttentionByPattern = std::span<ContextAttention* const>;

// All of it lives until the pass is done.
struct StageCall {
  const Exec& exec;
  MicroBatch batch;
  AttentionByPattern attention;
  WeightWatch* watch = nullptr;          // null: nobody asks
  ActivationOffload* offload = nullptr;  // of this pass alone until it is done; given exactly when config.offload asks
};

}  // namespace longspan
