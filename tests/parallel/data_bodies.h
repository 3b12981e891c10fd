// What replicas must get from their reductions and gathers, on any back-end, host or device: run as threads, under
// mpirun and over sockets.
#pragma once

#include <span>

#include "kernels/core/exec.h"
#include "parallel/comm/communicator.h"

namespace longspan::testing {

// A rank that holds replicas' weights where exec says.
struct DataRank {
  Communicator& comm;
  Exec exec;
};

// Throws on the rank that finds something wrong, which ends them all.
struct DataBody {
  const char* name;
  void (*run)(const DataRank&);
};
std::span<const DataBody> reduction_bodies();  // need kernels/ops on exec's device
std::span<const DataBody> gather_bodies();     // move memory only

}  // namespace longspan::testing
