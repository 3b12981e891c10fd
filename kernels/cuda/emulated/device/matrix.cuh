// Matrix products of a warp (compute capability 8.0): fragments laid out as "PTX ISA", mma.m16n8k16 and ldmatrix, has
// them.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "device/lanes.cuh"
#include "device/platform.cuh"

namespace longspan::cuda {

namespace emulated {

enum class Reading : std::uint8_t { kPlain, kTransposed };

// Rows' addresses are those the lanes gave.
inline std::uint32_t element_of(const Block::Slots& addresses, int matrix, int row, int column) {
  return read_slot<const std::uint16_t*>(addresses, matrix * 8 + row)[column];
}

template <int N>
void load_matrices(const char* what, std::uint32_t (&r)[N], const void* row, Reading reading) {
  Block& block = Block::current();
  LS_CHECK(block.lane() >= N * 8 || reinterpret_cast<std::uintptr_t>(row) % 16 == 0,
           "{}: {} from {}, which is no multiple of 16", block.describe(), what, row);
  const Block::Slots& addresses = block.exchange(what, &row, sizeof(row));
  const int group = block.lane() / 4, pair = block.lane() % 4 * 2;
  for (int m = 0; m < N; ++m) {
    const bool plain = reading == Reading::kPlain;
    const std::uint32_t low = plain ? element_of(addresses, m, group, pair) : element_of(addresses, m, pair, group);
    const std::uint32_t high =
        plain ? element_of(addresses, m, group, pair + 1) : element_of(addresses, m, pair + 1, group);
    r[m] = low | high << 16;
  }
  block.exchange(what, nullptr, 0);  // as one instruction: no lane goes on before all have read
}

}  // namespace emulated

// Lane i gives the address of row i % 8 of 8x8 matrix i / 8: 16 bytes in shared memory, aligned. r[m] is the lane's
// pair of matrix m: row lane / 4, columns 2 (lane % 4) and the next; transposed: rows and columns change places.
__device__ inline void load_matrix_x4(std::uint32_t (&r)[4], const void* shared_row) {
  emulated::load_matrices("load_matrix_x4", r, shared_row, emulated::Reading::kPlain);
}
__device__ inline void load_matrix_x2(std::uint32_t (&r)[2], const void* shared_row) {
  emulated::load_matrices("load_matrix_x2", r, shared_row, emulated::Reading::kPlain);
}
__device__ inline void load_matrix_transposed_x4(std::uint32_t (&r)[4], const void* shared_row) {
  emulated::load_matrices("load_matrix_transposed_x4", r, shared_row, emulated::Reading::kTransposed);
}
__device__ inline void load_matrix_transposed_x2(std::uint32_t (&r)[2], const void* shared_row) {
  emulated::load_matrices("load_matrix_transposed_x2", r, shared_row, emulated::Reading::kTransposed);
}

namespace emulated {

struct Fragments {
  std::uint32_t a[4], b[2];
};
inline float half_of(std::uint32_t pair, int half) {
  return std::bit_cast<float>(half ? pair & 0xffff0000u : pair << 16);
}
// A [16, 16]: registers go down 8 rows, then right 8 columns.
inline float a_at(const Block::Slots& all, int row, int k) {
  const auto lane = static_cast<std::size_t>(row % 8 * 4 + k % 8 / 2);
  std::uint32_t pair;
  std::memcpy(&pair, all[lane].data() + 4 * (row / 8 + 2 * (k / 8)), 4);
  return half_of(pair, k % 2);
}
// B [16, 8].
inline float b_at(const Block::Slots& all, int k, int column) {
  const auto lane = static_cast<std::size_t>(column * 4 + k % 8 / 2);
  std::uint32_t pair;
  std::memcpy(&pair, all[lane].data() + 16 + 4 * (k / 8), 4);
  return half_of(pair, k % 2);
}

}  // namespace emulated

// d[16, 8] += a[16, 16] b[16, 8], bf16 with fp32 sums, by the whole warp. With g = lane / 4 and t = 2 (lane % 4):
// d = (g, t) (g, t+1) (g+8, t) (g+8, t+1); a = rows g, g+8, g, g+8 at k = t, t, t+8, t+8, in pairs along k;
// b = column g at k = t, t+8, in pairs along k.
__device__ inline void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  emulated::Fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const emulated::Block::Slots& all = emulated::Block::current().exchange("multiply_add", &mine, sizeof(mine));
  const int group = lane() / 4, pair = lane() % 4 * 2;
  for (int i = 0; i < 4; ++i) {
    const int row = group + i / 2 * 8, column = pair + i % 2;
    for (int k = 0; k < 16; ++k) d[i] += emulated::a_at(all, row, k) * emulated::b_at(all, k, column);
  }
}

}  // namespace longspan::cuda
