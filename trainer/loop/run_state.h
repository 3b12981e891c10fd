// What a run saves and resumes: its tensors by logical name, its step and its place in the data.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "parallel/comm/communicator.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/loop/optimizer.h"

namespace longspan {

// Master weights as "weights/NAME".
std::vector<NamedTensor> weight_tensors(std::span<Parameter> parameters);
// The same, and the moments as "adam_m/NAME" and "adam_v/NAME".
std::vector<NamedTensor> training_tensors(std::span<Parameter> parameters, const Optimizer& optimizer);

// Fills `tensors`, which live where exec says, on every rank from the newest whole checkpoint of
// config.checkpoint_folder(), which rank 0 reads; returns its state without tensors, nullopt where there is none.
// Refused checkpoints are told through `report`. Collective. Throws Error(kData) if the data or its order changed
// since, Error(kUsage) if checkpoint.resume is false and there are checkpoints of an earlier run.
std::optional<CheckpointState> resume_run(const Config& config, std::uint64_t data_fingerprint, Communicator& world,
                                          const std::vector<NamedTensor>& tensors, const Exec& exec,
                                          const std::function<void(const std::string&)>& report);

}  // namespace longspan
