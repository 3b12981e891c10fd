// Pusher: keeps transfers going that move only while somebody looks: the caller now and then, or a thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace longspan {

enum class PushedBy : std::uint8_t { kCaller, kThread };
enum class PushState : std::uint8_t { kIdle, kBusy };  // kIdle: nothing to look after until tell()
enum class Patient : std::uint8_t { kNo, kYes };       // kYes: waits until the oldest transfer is done

// One thread drives it: its owner's. What a step throws reaches that thread at its next call, and ends the pushing.
class Pusher {
 public:
  // step pushes on all there is. It runs on one thread at a time and needs no lock, but what it shares with the owner's
  // other calls is atomic, or changed in while_still() alone.
  using Step = std::function<PushState(Patient)>;
  Pusher(PushedBy by, Step step);
  ~Pusher();
  Pusher(const Pusher&) = delete;
  Pusher& operator=(const Pusher&) = delete;

  // There is more to look after.
  void tell();
  // Looks, unless the thread does. Costs next to nothing then.
  void look();
  // Pushes until reached() holds, which what a step does makes true.
  void wait_until(const std::function<bool()>& reached);
  // Runs while no step does.
  void while_still(const std::function<void()>& change);

 private:
  void run(const std::stop_token& stop);
  void throw_if_failed();

  const Step step_;
  std::mutex mutex_;
  std::condition_variable_any told_, stepped_;
  bool has_work_ = false, waited_for_ = false, stepping_ = false;
  std::exception_ptr failure_;
  std::atomic<bool> failed_ = false;
  std::jthread thread_;
};

}  // namespace longspan
