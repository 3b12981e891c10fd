// Block: one block of threads on the CPU. Its threads are fibers of one OS thread; whoever must wait gives way.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/emulated/device/platform.cuh"
#include "kernels/cuda/emulated/fibers.h"
#include "kernels/cuda/emulated/order.h"

namespace longspan::cuda::emulated {

// What one thread waits at, for the report if it waits in vain.
struct Place {
  const char* what = "";
  int id = -1;  // of a named barrier
  bool operator==(const Place& other) const { return std::string_view(what) == other.what && id == other.id; }
};

// One slot a type of State that the vocabulary keeps for a block or a thread.
int next_state_id();
template <class State>
int state_id() {
  static const int id = next_state_id();
  return id;
}
// States by type, made when first asked for.
class States {
 public:
  template <class State>
  State& get() {
    const auto id = static_cast<std::size_t>(state_id<State>());
    if (states_.size() <= id) states_.resize(id + 1);
    if (!states_[id]) states_[id] = std::make_shared<State>();
    return *static_cast<State*>(states_[id].get());
  }
  void clear() { states_.clear(); }

 private:
  std::vector<std::shared_ptr<void>> states_;
};

class GridRun;

class Block {
 public:
  static constexpr int kLanes = 32;
  static constexpr int kNamedBarriers = 16;
  static constexpr std::size_t kSlotBytes = 64;
  using Slots = std::array<std::array<std::byte, kSlotBytes>, kLanes>;

  struct Shape {
    std::string_view kernel;
    dim3 grid, block, index;
    std::int64_t shared_bytes = 0;
  };
  // Runs `thread` once for each thread of one block. Throws what a thread threw, or an Error(kInternal) that lists
  // what each thread waits at where none can go on.
  static void run(GridRun& grid, const Shape& shape, const std::function<void()>& thread);

  // The block of the thread that calls.
  static Block& current();

  // The rest is called by the block's own threads.
  int thread() const { return running_; }
  int lane() const { return running_ % kLanes; }
  int warp() const { return running_ / kLanes; }
  int num_threads() const { return num_threads_; }

  // The thread goes on once `counter`, which only grows, has come to `target`.
  void wait_until(const std::uint64_t& counter, std::uint64_t target, Place place);
  // The thread looks at something that another block may change: the others get their turn first.
  void poll(Place place);
  // Done once no thread can go on without it: the latest moment that a copy in the background may land.
  void defer(std::function<void()> action) { deferred_.push_back(std::move(action)); }

  // Lays down this lane's value (up to kSlotBytes) and gives those of all 32 once all have come, or what `combine`
  // makes of them at that moment, for all lanes at once. Valid until the lane's next collective.
  using Combine = void (*)(Slots& values);
  const Slots& exchange(const char* what, const void* value, std::size_t num_bytes, Combine combine = nullptr);
  // Barrier 0 is that of the whole block.
  void arrive(int barrier, int num_threads, const char* what);
  void arrive_and_wait(int barrier, int num_threads, const char* what);

  std::byte* dynamic_shared() const;
  std::int64_t shared_bytes() const { return shape_.shared_bytes; }

  // What the vocabulary keeps for this block, and for the thread that calls.
  template <class State>
  State& state() {
    return states_.get<State>();
  }
  template <class State>
  State& thread_state() {
    return threads_[static_cast<std::size_t>(running_)].states.get<State>();
  }

  // "kernel NAME, block (0, 0, 0)".
  std::string describe() const;

 private:
  struct Thread {
    std::unique_ptr<Fiber> fiber;
    const std::uint64_t* counter = nullptr;  // null: can go on
    std::uint64_t target = 0;
    bool polls = false, done = false;
    Place place;
    States states;
    uint3 index;
  };
  struct Warp {
    std::uint64_t completed = 0;  // collectives
    int arrived = 0;
    const char* what = "";
    std::array<Slots, 2> slots;  // of the current collective and the one before, which slow lanes still read
  };
  struct Barrier {
    std::uint64_t completed = 0;
    int arrived = 0, expected = 0;
  };

  Block(GridRun& grid, const Shape& shape);
  void run_all(const std::function<void()>& thread);
  // True if the thread did something but poll.
  bool advance(int thread, const std::function<void()>& job);
  void give_way();
  std::string report() const;
  void check_shared() const;

  GridRun& grid_;
  Shape shape_;
  int num_threads_ = 0, running_ = 0;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::array<Barrier, kNamedBarriers> barriers_{};
  std::deque<std::function<void()>> deferred_;
  std::exception_ptr failure_;
  States states_;
};

}  // namespace longspan::cuda::emulated
