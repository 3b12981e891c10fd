#include "trainer/cli/stop_signals.h"

#include <atomic>
#include <csignal>
#include <thread>

namespace longspan {
namespace {

std::atomic<bool> received = false;

sigset_t stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGUSR1, SIGINT}) sigaddset(&signals, number);
  return signals;
}

void watch() {
  const sigset_t signals = stop_signals();
  bool interrupted = false;
  for (int number = 0; sigwait(&signals, &number) == 0;) {
    received = true;
    if (number == SIGINT && interrupted) {
      std::signal(SIGINT, SIG_DFL);
      sigset_t interrupt;
      sigemptyset(&interrupt);
      sigaddset(&interrupt, SIGINT);
      pthread_sigmask(SIG_UNBLOCK, &interrupt, nullptr);
      std::raise(SIGINT);
    }
    interrupted = interrupted || number == SIGINT;
  }
}

}  // namespace

// A thread of its own takes the signals, and all others, which inherit this one's mask, never see them: a handler's
// frame on the stack of a thread that computes is not safe. oneDNN 2.6's AVX-512 products keep data below the stack
// pointer, and a signal in the midst of one corrupts the heap.
void catch_stop_signals() {
  const sigset_t signals = stop_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread(watch).detach();
}

bool stop_signal_received() {
  return received;
}

}  // namespace longspan
