// SizeCounter: stands in for an Arena to learn what a sequence of allocations would take, without memory.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "kernels/core/arena.h"

namespace longspan {

class SizeCounter {
 public:
  Tensor allocate(std::string_view, MemoryCategory, DType dtype, std::initializer_list<std::int64_t> shape) {
    constexpr std::int64_t kArenaAlignment = 64;
    const Tensor tensor(nullptr, dtype, shape);
    used_bytes_ += (tensor.num_bytes() + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
    return tensor;
  }
  std::int64_t used_bytes() const { return used_bytes_; }

 private:
  std::int64_t used_bytes_ = 0;
};

}  // namespace longspan
