// Fibers: one OS thread's pool of stacks on which the threads of a block take turns.
#pragma once

#include <boost/context/fiber.hpp>

#include <functional>
#include <memory>
#include <vector>

namespace longspan::cuda::emulated {

// One stack that runs job after job. resume() goes on with it until it gives way or its job is done.
class Fiber {
 public:
  Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  // Unwinds a job that never came to its end.
  ~Fiber();

  // Before the next resume(): what to run. The job must not throw.
  void give(const std::function<void()>& job) { job_ = &job; }
  // True: the job is done, and the fiber free for another.
  bool resume();
  // Called on the fiber itself: back to whoever resumed it.
  void give_way();

 private:
  const std::function<void()>* job_ = nullptr;
  boost::context::fiber own_, resumer_;
};

// Fibers not in use on this OS thread.
std::unique_ptr<Fiber> take_fiber();
void put_back(std::unique_ptr<Fiber> fiber);

}  // namespace longspan::cuda::emulated
