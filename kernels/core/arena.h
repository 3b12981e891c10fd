// Arena: named, categorised memory with scopes that release in order, and a budget to print.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/device_runtime.h"
#include "kernels/core/tensor.h"

namespace longspan {

enum class MemoryCategory : std::uint8_t { kWeights, kGradients, kOptimizer, kActivations, kTransfers, kWorkspace };
inline constexpr int kNumMemoryCategories = 6;
std::string_view name_of(MemoryCategory category);

// A bump allocator over one range of a device's memory. Not thread-safe: one arena, one rank. What is released may
// still be read by work queued before on the rank's compute stream, and is handed out again to work queued after it on
// the same stream; another stream must be waited for before the scope ends.
class Arena {
 public:
  // Takes num_bytes of the device's memory (on the host: of address space; pages are touched only when written); throws
  // Error(kMemory) if it refuses.
  Arena(std::string name, std::int64_t num_bytes, DeviceRuntime& runtime = host_runtime());
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // A contiguous tensor, 64-byte aligned, uninitialised. Throws Error(kMemory) with the budget when it does not fit.
  Tensor allocate(std::string_view name, MemoryCategory category, DType dtype,
                  std::initializer_list<std::int64_t> shape);
  // The zeros are there when it returns, whatever the stream that reads them.
  Tensor allocate_zeroed(std::string_view name, MemoryCategory category, DType dtype,
                         std::initializer_list<std::int64_t> shape);

  void* base() const { return memory_; }  // of capacity_bytes(); null where they are 0
  std::int64_t used_bytes() const { return used_; }
  std::int64_t peak_bytes() const { return peak_; }
  std::int64_t capacity_bytes() const { return capacity_; }
  // Bytes of a category when the arena as a whole stood at its peak.
  std::int64_t category_bytes_at_peak(MemoryCategory category) const;
  // One line an allocation alive now, largest first, then totals by category.
  std::string report() const;

  // Everything allocated while a Scope lives is released with it. Scopes nest.
  class Scope {
   public:
    explicit Scope(Arena& arena);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    std::int64_t used_;
    std::size_t count_;
  };

 private:
  struct Allocation {
    std::string name;
    MemoryCategory category;
    std::int64_t num_bytes;
  };

  std::string name_;
  DeviceRuntime& runtime_;
  std::byte* memory_ = nullptr;
  std::int64_t capacity_ = 0;
  std::int64_t used_ = 0;
  std::int64_t peak_ = 0;
  std::vector<Allocation> live_;
  std::array<std::int64_t, kNumMemoryCategories> by_category_{};
  std::array<std::int64_t, kNumMemoryCategories> at_peak_{};
};

}  // namespace longspan
