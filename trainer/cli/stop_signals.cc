#include "trainer/cli/stop_signals.h"

#include <atomic>
#include <csignal>

namespace longspan {
namespace {

std::atomic<bool> received = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may only touch lock-free atomics");

void note(int) {
  received = true;
}

void catch_signal(int number, int flags) {
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = flags;
  sigaction(number, &action, nullptr);
}

}  // namespace

void catch_stop_signals() {
  catch_signal(SIGTERM, SA_RESTART);
  catch_signal(SIGUSR1, SA_RESTART);
  catch_signal(SIGINT, SA_RESTART | static_cast<int>(SA_RESETHAND));
}

bool stop_signal_received() {
  return received;
}

}  // namespace longspan
