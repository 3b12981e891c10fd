// SIGTERM, SIGUSR1 and SIGINT as a wish to save and leave.
#pragma once

namespace longspan {

// From now on these signals set a flag; a second SIGINT ends the process at once. To be called once, before the process
// has other threads.
void catch_stop_signals();
bool stop_signal_received();

}  // namespace longspan
