// Tiles of tensors brought into shared memory by the copy engine. Here a box lands as late as it may, when no thread
// can go on without it, so that reading too early shows; where threads are shuffled it lands at once, so that handing
// memory back too early shows.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "device/barrier.cuh"
#include "kernels/core/tensor.h"
#include "kernels/cuda/emulated/order.h"
#include "kernels/cuda/hopper_layout.h"

namespace longspan::cuda {

struct alignas(64) TensorMap {
  const bf16* first = nullptr;
  std::array<std::int64_t, 3> sizes{};    // columns, heads, rows
  std::array<std::int64_t, 3> strides{};  // in elements
  int box_rows = 0;
};

// For boxes of 64 columns x 1 head x `box_rows` rows (at most 256) of rows [T, H, D] of bf16, laid down as
// hopper_layout.h says. Places outside the tensor read as zeros. The tensor's address and its strides must be multiples
// of 16 bytes (PTX ISA 5.5.2, "Tensor dimension, size and format"). Throws Error(kEnvironment) if the driver refuses.
TensorMap make_tensor_map(const Tensor& rows, int box_rows);

namespace emulated {

inline void land_box(std::byte* shared, const TensorMap& map, int column, int head, int row) {
  const auto inside = [](std::int64_t place, std::int64_t size) { return place >= 0 && place < size; };
  std::byte* const start = Block::current().dynamic_shared();
  const std::uint32_t base = static_cast<std::uint32_t>(shared - start);
  for (int r = 0; r < map.box_rows; ++r)
    for (int c = 0; c < kPanelColumns; ++c) {
      bf16 value(0.0f);
      if (inside(column + c, map.sizes[0]) && inside(head, map.sizes[1]) && inside(row + r, map.sizes[2]))
        value = map.first[(column + c) + head * map.strides[1] + (row + r) * map.strides[2]];
      const std::uint32_t address = swizzled(base + static_cast<std::uint32_t>(r * kPanelRowBytes + c * 2));
      std::memcpy(start + address, &value, sizeof(value));
    }
}

}  // namespace emulated

// One thread: starts the copy of a box to `shared`, a multiple of 1024 bytes; `barrier` counts its bytes, also those
// that lie outside the tensor.
inline void load_box(void* shared, const TensorMap& map, Barrier64& barrier, int column, int head, int row) {
  emulated::Block& block = emulated::Block::current();
  const int bytes = map.box_rows * kPanelRowBytes;
  const std::uint32_t offset = emulated::shared_offset(shared);
  LS_CHECK(offset % kSwizzleBytes == 0 && offset + bytes <= block.shared_bytes(), "{}: a box of {} bytes at byte {}",
           block.describe(), bytes, offset);
  const auto land = [shared, map, &barrier, column, head, row, bytes] {
    emulated::land_box(static_cast<std::byte*>(shared), map, column, head, row);
    barrier.land(bytes);
  };
  if (emulated::thread_order().kind == emulated::OrderKind::kShuffled) return land();
  block.defer(land);
}

// One thread, early in the kernel: fetches the description itself.
inline void prefetch(const TensorMap&) {}

}  // namespace longspan::cuda
