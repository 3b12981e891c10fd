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

// What each lane gets of N matrices whose rows' addresses the lanes gave: read at one moment, as by one instruction.
template <int N, Reading reading>
void read_matrices(Block::Slots& slots) {
  const std::uint16_t* rows[N * 8];
  for (int i = 0; i < N * 8; ++i) rows[i] = read_slot<const std::uint16_t*>(slots, i);
  for (std::size_t l = 0; l < slots.size(); ++l) {
    const std::size_t group = l / 4, pair = l % 4 * 2;
    for (std::size_t m = 0; m < N; ++m) {
      const std::uint16_t* const* row = rows + m * 8;
      const bool plain = reading == Reading::kPlain;
      const std::uint16_t both[2] = {plain ? row[group][pair] : row[pair][group],
                                     plain ? row[group][pair + 1] : row[pair + 1][group]};
      std::memcpy(slots[l].data() + m * sizeof(both), both, sizeof(both));
    }
  }
}

template <Reading reading, int N>
void load_matrices(const char* what, std::uint32_t (&r)[N], const void* row) {
  Block& block = Block::current();
  LS_CHECK(block.lane() >= N * 8 || reinterpret_cast<std::uintptr_t>(row) % 16 == 0,
           "{}: {} from {}, which is no multiple of 16", block.describe(), what, row);
  const Block::Slots& slots = block.exchange(what, &row, sizeof(row), read_matrices<N, reading>);
  std::memcpy(r, slots[static_cast<std::size_t>(block.lane())].data(), sizeof(r));
}

}  // namespace emulated

// Lane i gives the address of row i % 8 of 8x8 matrix i / 8: 16 bytes in shared memory, aligned. r[m] is the lane's
// pair of matrix m: row lane / 4, columns 2 (lane % 4) and the next; transposed: rows and columns change places.
__device__ inline void load_matrix_x4(std::uint32_t (&r)[4], const void* shared_row) {
  emulated::load_matrices<emulated::Reading::kPlain>("load_matrix_x4", r, shared_row);
}
__device__ inline void load_matrix_x2(std::uint32_t (&r)[2], const void* shared_row) {
  emulated::load_matrices<emulated::Reading::kPlain>("load_matrix_x2", r, shared_row);
}
__device__ inline void load_matrix_transposed_x4(std::uint32_t (&r)[4], const void* shared_row) {
  emulated::load_matrices<emulated::Reading::kTransposed>("load_matrix_transposed_x4", r, shared_row);
}
__device__ inline void load_matrix_transposed_x2(std::uint32_t (&r)[2], const void* shared_row) {
  emulated::load_matrices<emulated::Reading::kTransposed>("load_matrix_transposed_x2", r, shared_row);
}

namespace emulated {

struct Fragments {
  std::uint32_t a[4], b[2];
};
inline float half_of(std::uint32_t pair, int half) {
  return std::bit_cast<float>(half ? pair & 0xffff0000u : pair << 16);
}

// Fragments of all lanes become what each lane adds to its accumulators.
inline void multiply_fragments(Block::Slots& slots) {
  float a[16][16], b[16][8], d[16][8] = {};
  for (int l = 0; l < kWarp; ++l) {
    const auto fragments = read_slot<Fragments>(slots, l);
    const int group = l / 4, pair = l % 4 * 2;
    for (int half = 0; half < 2; ++half) {
      // Registers of a go down 8 rows, then right 8 columns; those of b go down 8 rows.
      for (int r = 0; r < 4; ++r) a[group + r % 2 * 8][pair + half + r / 2 * 8] = half_of(fragments.a[r], half);
      for (int r = 0; r < 2; ++r) b[pair + half + r * 8][group] = half_of(fragments.b[r], half);
    }
  }
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < 16; ++k)
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
  for (int l = 0; l < kWarp; ++l) {
    const int group = l / 4, pair = l % 4 * 2;
    const float mine[4] = {d[group][pair], d[group][pair + 1], d[group + 8][pair], d[group + 8][pair + 1]};
    std::memcpy(slots[static_cast<std::size_t>(l)].data(), mine, sizeof(mine));
  }
}

}  // namespace emulated

// d[16, 8] += a[16, 16] b[16, 8], bf16 with fp32 sums, by the whole warp. With g = lane / 4 and t = 2 (lane % 4):
// d = (g, t) (g, t+1) (g+8, t) (g+8, t+1); a = rows g, g+8, g, g+8 at k = t, t, t+8, t+8, in pairs along k;
// b = column g at k = t, t+8, in pairs along k.
__device__ inline void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  const emulated::Fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const emulated::Block::Slots& sums =
      emulated::Block::current().exchange("multiply_add", &mine, sizeof(mine), emulated::multiply_fragments);
  float sum[4];
  std::memcpy(sum, sums[static_cast<std::size_t>(lane())].data(), sizeof(sum));
  for (int i = 0; i < 4; ++i) d[i] += sum[i];
}

}  // namespace longspan::cuda
