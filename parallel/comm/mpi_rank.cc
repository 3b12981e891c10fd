#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mpi.h>
#include <thread>

#include "kernels/core/error.h"
#include "parallel/comm/mpi_communicator.h"

namespace longspan {
namespace {

// When a rank is silent, the others' waits pass their deadlines one after another, as far apart as the ranks came to
// wait, and each knows a part of who waits for whom. So the first to give up lets the others speak before it ends them
// all. And one is to end them, not many at once: what mpirun prints of several is garbled. The lowest that gave up
// does, and the higher ones only where it could not.
void let_others_speak(const CommOptions& options) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const std::int64_t to_speak_ms = std::clamp<std::int64_t>(options.timeout_ms / 10, 500, 10'000);
  const std::int64_t to_be_ended_ms = 1500 * std::min(rank, 4);  // mpirun kills after a second
  std::this_thread::sleep_for(std::chrono::milliseconds(to_speak_ms + to_be_ended_ms));
}

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
    const int exit_code = report(error);
    if (world.gave_up()) let_others_speak(options);
    return end_world(exit_code);
  } catch (...) {
    return end_world(report(Error(ErrorKind::kInternal, "an exception of unknown type")));
  }
  // A rank that fails between here and the others' end still ends them: its launcher sees to it.
  check_mpi(MPI_Finalize(), "MPI_Finalize");
  return 0;
}

}  // namespace longspan
