#include <cstdlib>
#include <exception>
#include <mpi.h>

#include "kernels/core/error.h"
#include "parallel/comm/mpi_communicator.h"

namespace longspan {
namespace {

// Ends every rank; does not come back where MPI keeps its word.
int end_world(int exit_code) {
  const int code = exit_code != 0 ? exit_code : 1;
  MPI_Abort(MPI_COMM_WORLD, code);
  return code;
}

void run_body(MpiWorld& world, const std::function<void(Communicator&)>& body) {
  const std::unique_ptr<Communicator> communicator = make_mpi_communicator(world);
  body(*communicator);
  // Nobody enters MPI_Finalize before all have ended well: PMIx 4.2's server in mpirun hangs or crashes when one rank
  // ends in failure while another waits there, and ranks would be left behind.
  communicator->barrier();
  LS_REQUIRE(kAborted, !world.aborted(), "{}", world.abort_reason());
}

}  // namespace

// The launchers of Open MPI, of MPICH and its kin (PMI), and of Slurm and PRRTE (PMIx).
bool launched_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

int run_mpi_rank(const CommOptions& options, const std::function<void(Communicator&)>& body,
                 const std::function<int(const std::exception&)>& report) {
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  MpiWorld world(options);
  try {
    LS_REQUIRE(kEnvironment, provided == MPI_THREAD_MULTIPLE,
               "this MPI does not let several threads communicate (thread level {} of {}); use one built with "
               "MPI_THREAD_MULTIPLE, or --ranks without a launcher",
               provided, static_cast<int>(MPI_THREAD_MULTIPLE));
    run_body(world, body);
  } catch (const std::exception& error) {
    return end_world(report(error));
  } catch (...) {
    return end_world(report(Error(ErrorKind::kInternal, "an exception of unknown type")));
  }
  // A rank that fails between here and the others' end still ends them: its launcher sees to it.
  check_mpi(MPI_Finalize(), "MPI_Finalize");
  return 0;
}

}  // namespace longspan
