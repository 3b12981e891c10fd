// What a run saves and resumes: its tensors by logical name, its step and its place in the data.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "parallel/comm/communicator.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/state_exchange.h"
#include "trainer/loop/optimizer.h"

namespace longspan {

// The master weights of a whole model as "weights/NAME".
std::vector<NamedTensor> weight_tensors(std::span<Parameter> parameters);

// Names and shapes of all that a training run saves, whatever its layout: "weights/NAME", then "adam_m/NAME" and
// "adam_v/NAME".
std::vector<NamedTensor> training_state(const ModelConfig& config);

// What this rank has of it, as the replica of this number among those with the same weights. Of whole weights the first
// replica's go into a checkpoint, of sharded ones each its own; of tied copies none, but all are read.
std::vector<StatePiece> training_pieces(Model& model, const Optimizer& optimizer, int replica);

// Saves and resumes a run whose weights lie anywhere. To be made by all ranks of the world together, once model and
// optimizer are; all calls are collective.
//
//   RunState state(world, model, optimizer, mesh.replicas().rank(), exec);
//   if (const auto found = state.resume(…)) { model.refresh_compute(exec); gather.start(); }  // the gather with ZeRO
//   state.save(rank 0's writer, others null, {.step = …, .sequences_consumed = …, …});        // no tensors
//
// It reads masters and moments, not compute copies: no gather need be finished for save(). resume() writes masters; in
// fp32, where these are what the layers read, none may be under way.
class RunState {
 public:
  // Keeps references to world and what exec names; the tensors outlive it.
  RunState(Communicator& world, Model& model, const Optimizer& optimizer, int replica, const Exec& exec);

  // Rank 0 gives its writer and what else there is to save; the others null. The writer's memory for the snapshot holds
  // all tensors on rank 0, unless it writes at once what rank 0 alone has in the host's memory.
  void save(CheckpointWriter* writer, CheckpointState state) const;

  // Fills all tensors from the newest whole checkpoint of config.checkpoint_folder(), of whatever layout, which rank 0
  // reads; its state without tensors on every rank, nullopt where there is none. Refused checkpoints are told through
  // `report`. Throws Error(kData) if the data or its order changed since, Error(kUsage) if checkpoint.resume is false
  // and there are checkpoints of an earlier run.
  std::optional<CheckpointState> resume(const Config& config, std::uint64_t data_fingerprint,
                                        const std::function<void(const std::string&)>& report) const;

 private:
  Communicator& world_;
  const Exec exec_;
  const StateExchange exchange_;
};

}  // namespace longspan
