// RunPlan: what a config means for a given world: layout, threads and memory of this rank.
#pragma once

#include <string>

#include "trainer/loop/memory_budget.h"
#include "trainer/loop/parallel_layout.h"
#include "trainer/loop/step_plan.h"

namespace longspan {

struct RunPlan {
  ParallelLayout layout;
  int rank = 0;
  int num_threads = 1;
  int ranks_per_node = 0;  // 0: all on one
  Device device = Device::kCpu;
  StepSequences first_step;  // of this rank
  MemoryBudget budget;

  MeshPlace mesh_place() const { return layout.mesh.place_of(rank); }
  PlanPlace place(const Config& config) const;
  // What is trained on when `consumed` sequences came before, and this rank's data group among those that share it.
  StepSequences sequences_at(std::int64_t consumed) const;
};

// Throws Error(kUsage) naming every factor where they do not fit, Error(kUnsupported) where the scheme refuses.
// ranks_per_node: as they were placed (0: all on one), where parallel.ranks_per_node does not say.
RunPlan make_run_plan(const Config& config, int world, int rank, int num_threads, int ranks_per_node = 0,
                      Device device = Device::kCpu);

// Ranks of a host where all hosts have as many and ranks of a host stand together; else 1. Collective.
int ranks_of_each_host(Communicator& world);

// Throws Error(kMemory), with the longest sequence that fits, if the ranks of this host need more of its memory than
// run.memory_gib or the machine has, or those that compute on this rank's GPU more than that has. gpu: the place of
// this rank's among those of the host, and its memory; not looked at on the CPU. Collective.
struct GpuPlace {
  int ordinal = 0;
  std::int64_t memory_bytes = 0;
};
void require_memory(const Config& config, const RunPlan& plan, Communicator& world, const GpuPlace& gpu = {});

// The derived numbers a run prints before it starts: parameters, tokens a step, groups, FLOPs, memory.
std::string describe(const Config& config, const RunPlan& plan);

}  // namespace longspan
