// Trainer: one rank's run from config to last checkpoint.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "parallel/comm/communicator.h"
#include "trainer/config/config.h"

namespace longspan {

// How a run talks to whoever started it. Only rank 0 prints; every rank asks whether to stop.
struct TrainerHooks {
  std::function<void(const std::string&)> print;                        // one line or block of text
  std::function<void(std::int64_t step, std::int64_t total)> progress;  // after each step
  std::function<bool()> stop_requested;                                 // a signal asked to save and leave
};

// Trains until run.steps, or until any rank's stop_requested(), resuming from the newest whole checkpoint. Collective
// over world. The same config and data give the same bits, however often the run was killed and started again; the
// result does not depend on how ranks split the work beyond rounding.
// Throws Error: kUsage where ranks or config do not fit together, kMemory before the first step with the longest
// sequence that fits, kData for unusable data or checkpoints, kInternal before the first step where run.parity_probe
// finds attention over the ranks to be another than on one.
void train(const Config& config, Communicator& world, const TrainerHooks& hooks);

}  // namespace longspan
