// Launch: where ranks come from (threads, MPI, torchrun) and how a failure ends the process.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/core/error.h"
#include "parallel/comm/communicator.h"

namespace longspan {

// Exit codes of the program, documented in docs/cli.md.
enum ExitCode : int {
  kExitOk = 0,
  kExitCheckFailed = 1,
  kExitUsage = 2,
  kExitUnsupported = 3,
  kExitData = 4,
  kExitMemory = 5,
  kExitAborted = 6,
  kExitEnvironment = 7,
  kExitInternal = 70,
};
int exit_code_of(ErrorKind kind);

// Runs body on `ranks` threads (0: one), or as one rank of the world where a launcher of MPI or torchrun's variables
// (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT) started several (ranks must then be 0 or the world's size). Reports an
// exception once on stderr, "longspan: error: rank 2: ...", and returns its exit code.
int run_ranks(int ranks, const CommOptions& options, const std::function<void(Communicator&)>& body);

// Of the machine this process runs on.
std::string host_name();

// OpenMP threads for each of the ranks on this host: requested where that is at least 1, or cores / ranks on this host,
// at least 1. Collective over world; the same request on all ranks.
int threads_per_rank(std::int64_t requested, Communicator& world);

}  // namespace longspan
