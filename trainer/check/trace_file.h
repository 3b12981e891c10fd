// Trace files: what all ranks recorded, as JSON that Perfetto (ui.perfetto.dev) and chrome://tracing open: a process
// for each rank, and in it a row for each track.
#pragma once

#include <string>

#include "parallel/comm/communicator.h"
#include "parallel/context/context_trace.h"

namespace longspan {

// The file's text, the same on every rank. Times are in microseconds from the first event. Collective: where ranks are
// processes, perhaps of several hosts, their clocks are compared at a barrier.
std::string trace_text(Communicator& comm, const ContextTrace& trace);

// Rank 0 writes it. Throws Error(kEnvironment) there. Collective.
void write_trace_file(Communicator& comm, const ContextTrace& trace, const std::string& path);

}  // namespace longspan
