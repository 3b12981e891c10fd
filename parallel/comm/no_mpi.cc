// Stands in for mpi_rank.cc where MPI was not found.
#include "kernels/core/error.h"
#include "parallel/comm/communicator.h"

namespace longspan {

bool launched_by_mpi() {
  return false;
}

int run_mpi_rank(const CommOptions&, const std::function<void(Communicator&)>&,
                 const std::function<int(const std::exception&)>&) {
  fail(ErrorKind::kUnsupported, "built without MPI: ranks are threads of one process; use --ranks, or build with MPI");
}

}  // namespace longspan
