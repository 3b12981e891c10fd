// RankPlace: where a rank stands among the ranks of its host, hence which GPU is its own.
#pragma once

#include "parallel/comm/communicator.h"

namespace longspan {

struct RankPlace {
  int local_rank = 0;
  int local_size = 1;

  // Ranks take a host's GPUs in turn; where there are fewer GPUs than ranks, ranks share.
  int gpu_ordinal(int num_gpus) const { return num_gpus > 0 ? local_rank % num_gpus : 0; }
};

// Threads of one process: their ranks. Processes: what the launcher says (LOCAL_RANK of torchrun,
// OMPI_COMM_WORLD_LOCAL_RANK, MPI_LOCALRANKID, SLURM_LOCALID), where it says nothing the order of ranks on hosts of one
// name. Collective over world.
RankPlace place_of(Communicator& world);

}  // namespace longspan
