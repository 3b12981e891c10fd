// Barriers in shared memory (mbarrier): a phase is over once as many threads have arrived as init() said and all
// announced bytes have landed. The counts are kept beside the block; shared memory holds a mark.
#pragma once

#include <cstdint>
#include <map>

#include "device/platform.cuh"
#include "kernels/core/error.h"
#include "kernels/cuda/emulated/block.h"

namespace longspan::cuda {

namespace emulated {

struct BarrierCounts {
  int arrivals = 0;  // of a phase
  int missing = 0;   // of this phase
  std::int64_t missing_bytes = 0;
  std::uint64_t phases = 0;  // that are over

  void finish_phase_if_complete() {
    if (missing > 0 || missing_bytes != 0) return;
    missing = arrivals;
    ++phases;
  }
};
struct BarriersOfBlock {
  std::map<const void*, BarrierCounts> counts;
};

// An offset from the start of the block's dynamic shared memory, as descriptors and swizzles know addresses.
inline std::uint32_t shared_offset(const void* shared) {
  const Block& block = Block::current();
  const std::ptrdiff_t offset = static_cast<const std::byte*>(shared) - block.dynamic_shared();
  LS_CHECK(offset >= 0 && offset < block.shared_bytes(), "{}: address {} from the start of {} bytes of shared memory",
           block.describe(), offset, block.shared_bytes());
  return static_cast<std::uint32_t>(offset);
}

}  // namespace emulated

struct alignas(8) Barrier64 {
  std::uint64_t state;

  void init(int arrivals) {
    LS_CHECK(arrivals > 0, "{}: a barrier of {} arrivals", emulated::Block::current().describe(), arrivals);
    emulated::Block::current().state<emulated::BarriersOfBlock>().counts[this] = {arrivals, arrivals};
    state = kMark;
  }
  void arrive() {
    emulated::BarrierCounts& own = counts("arrive");
    take_arrival(own);
    own.finish_phase_if_complete();
  }
  // Arrives too, and keeps the phase open until so many more bytes have landed.
  void arrive_and_expect(int bytes) {
    emulated::BarrierCounts& own = counts("arrive_and_expect");
    own.missing_bytes += bytes;
    take_arrival(own);
    own.finish_phase_if_complete();
  }
  // Until the phase of this parity is over; phases count from 0. A new barrier passes at once for parity 1.
  void wait(int parity) {
    const emulated::BarrierCounts& own = counts("wait");
    LS_CHECK(parity == 0 || parity == 1, "{}: parity {}", emulated::Block::current().describe(), parity);
    if (static_cast<int>(own.phases % 2) != parity) return;
    emulated::Block::current().wait_until(own.phases, own.phases + 1,
                                          {"Barrier64 at byte", static_cast<int>(emulated::shared_offset(this))});
  }
  // By the copy engine.
  void land(int bytes) {
    emulated::BarrierCounts& own = counts("land");
    own.missing_bytes -= bytes;
    own.finish_phase_if_complete();
  }

 private:
  static constexpr std::uint64_t kMark = 0x4261727269657221;

  emulated::BarrierCounts& counts(const char* what) {
    emulated::Block& block = emulated::Block::current();
    auto& all = block.state<emulated::BarriersOfBlock>().counts;
    const auto found = all.find(this);
    LS_CHECK(found != all.end() && state == kMark, "{}: {} at a barrier that is not initialised or overwritten",
             block.describe(), what);
    return found->second;
  }
  static void take_arrival(emulated::BarrierCounts& own) {
    LS_CHECK(own.missing > 0, "{}: more arrivals than the {} of a phase", emulated::Block::current().describe(),
             own.arrivals);
    --own.missing;
  }
};

// Between init() and the block's barrier: makes new barriers known to the copy engine.
inline void fence_barrier_init() {}

// Between ordinary accesses to shared memory and those of the copy engine or the tensor cores, in each thread that made
// them and before the barrier that hands the memory over. Not modelled: here all see the same memory.
inline void fence_async_shared() {}

}  // namespace longspan::cuda
