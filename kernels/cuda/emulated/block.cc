#include "kernels/cuda/emulated/block.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "kernels/core/error.h"
#include "kernels/cuda/emulated/grid_run.h"

constinit thread_local uint3 threadIdx{};
constinit thread_local uint3 blockIdx{};
constinit thread_local dim3 blockDim{};
constinit thread_local dim3 gridDim{};

namespace longspan::cuda::emulated {
namespace {

constexpr std::int64_t kMaxSharedBytes = 227 * 1024;
constexpr std::size_t kFence = 256;
constexpr auto kUnset = std::byte{0xff};  // reads as NaN in every float dtype

constinit thread_local Block* current_block = nullptr;

// The dynamic shared memory of the block that this OS thread runs, and a fence behind it.
struct alignas(1024) SharedMemory {
  std::byte bytes[kMaxSharedBytes + kFence];
};
std::byte* shared_memory() {
  static thread_local const auto memory = std::make_unique<SharedMemory>();
  return memory->bytes;
}

std::string text_of(const Place& place) {
  return place.id < 0 ? std::string(place.what) : fmt::format("{} {}", place.what, place.id);
}

}  // namespace

int next_state_id() {
  static std::atomic<int> next = 0;
  return next++;
}

Block::Block(GridRun& grid, const Shape& shape)
    : grid_(grid),
      shape_(shape),
      num_threads_(static_cast<int>(shape.block.x * shape.block.y * shape.block.z)),
      threads_(static_cast<std::size_t>(num_threads_)),
      warps_(static_cast<std::size_t>((num_threads_ + kLanes - 1) / kLanes)) {
  const dim3 size = shape.block;
  for (unsigned t = 0; t < threads_.size(); ++t)
    threads_[t].index = {t % size.x, t / size.x % size.y, t / (size.x * size.y)};
  blockIdx = {shape.index.x, shape.index.y, shape.index.z};
  blockDim = size;
  gridDim = shape.grid;
  std::fill_n(shared_memory(), static_cast<std::size_t>(shape.shared_bytes) + kFence, kUnset);
}

Block& Block::current() {
  LS_CHECK(current_block, "device code is called outside a kernel");
  return *current_block;
}

std::string Block::describe() const {
  return fmt::format("kernel {}, block ({}, {}, {})", shape_.kernel, shape_.index.x, shape_.index.y, shape_.index.z);
}

void Block::run(GridRun& grid, const Shape& shape, const std::function<void()>& thread) {
  LS_CHECK(!current_block, "kernel {} is launched from within a kernel", shape.kernel);
  LS_CHECK(shape.shared_bytes <= kMaxSharedBytes, "kernel {}: {} bytes of shared memory, a block has {}", shape.kernel,
           shape.shared_bytes, kMaxSharedBytes);
  Block self(grid, shape);
  current_block = &self;
  try {
    self.run_all(thread);
  } catch (...) {
    self.threads_.clear();  // unwinds fibers in the midst of their work, which may look for their block
    current_block = nullptr;
    throw;
  }
  current_block = nullptr;
}

void Block::run_all(const std::function<void()>& thread) {
  const std::function<void()> job = [&] {
    try {
      thread();
    } catch (const boost::context::detail::forced_unwind&) {
      throw;
    } catch (...) {
      failure_ = std::current_exception();
    }
  };
  Rounds rounds(thread_order(), num_threads_);
  int unfinished = num_threads_;
  while (unfinished > 0) {
    bool moved = false, polled = false;
    for (const int t : rounds.next()) {
      Thread& each = threads_[static_cast<std::size_t>(t)];
      if (each.done || (each.counter && *each.counter < each.target)) continue;
      moved |= advance(t, job);
      if (failure_) std::rethrow_exception(failure_);
      unfinished -= each.done;
      polled |= each.polls;
    }
    if (moved) {
      grid_.moved();
    } else if (!deferred_.empty()) {
      const std::function<void()> action = std::move(deferred_.front());
      deferred_.pop_front();
      action();
    } else if (!polled || !grid_.stalled()) {
      fail(ErrorKind::kInternal, "{}: no thread can go on\n{}", describe(), report());
    }
  }
  check_shared();
}

bool Block::advance(int thread, const std::function<void()>& job) {
  Thread& each = threads_[static_cast<std::size_t>(thread)];
  const bool polled_before = each.polls;
  each.counter = nullptr;
  each.polls = false;
  if (!each.fiber) {
    each.fiber = take_fiber();
    each.fiber->give(job);
  }
  running_ = thread;
  threadIdx = each.index;
  if (each.fiber->resume()) {
    each.done = true;
    put_back(std::move(each.fiber));
  }
  return !(polled_before && each.polls);
}

void Block::give_way() {
  threads_[static_cast<std::size_t>(running_)].fiber->give_way();
}

void Block::wait_until(const std::uint64_t& counter, std::uint64_t target, Place place) {
  if (counter >= target) return;
  Thread& self = threads_[static_cast<std::size_t>(running_)];
  self.counter = &counter;
  self.target = target;
  self.place = place;
  give_way();
}

void Block::poll(Place place) {
  Thread& self = threads_[static_cast<std::size_t>(running_)];
  self.polls = true;
  self.place = place;
  give_way();
}

const Block::Slots& Block::exchange(const char* what, const void* value, std::size_t num_bytes, Combine combine) {
  Warp& warp = warps_[static_cast<std::size_t>(this->warp())];
  if (warp.arrived == 0) warp.what = what;
  LS_CHECK(std::string_view(warp.what) == what, "{}: lane {} of warp {} comes to {}, others of its warp to {}",
           describe(), lane(), this->warp(), what, warp.what);
  Slots& slots = warp.slots[warp.completed % 2];
  if (num_bytes > 0) std::memcpy(slots[static_cast<std::size_t>(lane())].data(), value, num_bytes);
  const std::uint64_t target = warp.completed + 1;
  if (++warp.arrived == kLanes) {
    if (combine) combine(slots);
    warp.arrived = 0;
    ++warp.completed;
  }
  wait_until(warp.completed, target, {what});
  return slots;
}

void Block::arrive(int barrier, int num_threads, const char* what) {
  LS_CHECK(barrier >= 0 && barrier < kNamedBarriers, "{}: {} {}: there are barriers 0 to {}", describe(), what, barrier,
           kNamedBarriers - 1);
  Barrier& each = barriers_[static_cast<std::size_t>(barrier)];
  LS_CHECK(num_threads > 0 && (barrier == 0 || num_threads % kLanes == 0) && num_threads <= num_threads_,
           "{}: {} {} of {} threads", describe(), what, barrier, num_threads);
  if (each.arrived == 0) each.expected = num_threads;
  LS_CHECK(each.expected == num_threads, "{}: {} {} of {} threads and of {}", describe(), what, barrier, num_threads,
           each.expected);
  if (++each.arrived == each.expected) {
    each.arrived = 0;
    ++each.completed;
  }
}

void Block::arrive_and_wait(int barrier, int num_threads, const char* what) {
  LS_CHECK(barrier >= 0 && barrier < kNamedBarriers, "{}: {} {}: there are barriers 0 to {}", describe(), what, barrier,
           kNamedBarriers - 1);
  const std::uint64_t& completed = barriers_[static_cast<std::size_t>(barrier)].completed;
  const std::uint64_t target = completed + 1;
  arrive(barrier, num_threads, what);
  wait_until(completed, target, {what, barrier == 0 ? -1 : barrier});
}

std::byte* Block::dynamic_shared() const {
  return shared_memory();
}

void Block::check_shared() const {
  const std::byte* fence = shared_memory() + shape_.shared_bytes;
  LS_CHECK(std::all_of(fence, fence + kFence, [](std::byte b) { return b == kUnset; }),
           "{} wrote past its {} bytes of dynamic shared memory", describe(), shape_.shared_bytes);
}

// Threads that wait at one place are one line.
std::string Block::report() const {
  std::string text;
  const auto what_of = [](const Thread& each) { return each.done ? std::string("finished") : text_of(each.place); };
  for (std::size_t begin = 0, end = 0; begin < threads_.size(); begin = end) {
    const std::string what = what_of(threads_[begin]);
    while (end < threads_.size() && what_of(threads_[end]) == what) ++end;
    text += end - begin == 1 ? fmt::format("  thread {}: {}\n", begin, what)
                             : fmt::format("  threads {} to {}: {}\n", begin, end - 1, what);
  }
  return text;
}

}  // namespace longspan::cuda::emulated
