// Matrix products of a warp (compute capability 8.0): fragments laid out as "PTX ISA", mma.m16n8k16 and ldmatrix, has
// them.
#pragma once

#include <cstdint>

#include "device/platform.cuh"

namespace longspan::cuda {

// Lane i gives the address of row i % 8 of 8x8 matrix i / 8: 16 bytes in shared memory, aligned. r[m] is the lane's
// pair of matrix m: row lane / 4, columns 2 (lane % 4) and the next; transposed: rows and columns change places.
__device__ inline void load_matrix_x4(std::uint32_t (&r)[4], const void* shared_row) {
  const auto from = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}
__device__ inline void load_matrix_x2(std::uint32_t (&r)[2], const void* shared_row) {
  const auto from = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(from)
               : "memory");
}
__device__ inline void load_matrix_transposed_x4(std::uint32_t (&r)[4], const void* shared_row) {
  const auto from = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}
__device__ inline void load_matrix_transposed_x2(std::uint32_t (&r)[2], const void* shared_row) {
  const auto from = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(from)
               : "memory");
}

// d[16, 8] += a[16, 16] b[16, 8], bf16 with fp32 sums, by the whole warp. With g = lane / 4 and t = 2 (lane % 4):
// d = (g, t) (g, t+1) (g+8, t) (g+8, t+1); a = rows g, g+8, g, g+8 at k = t, t, t+8, t+8, in pairs along k;
// b = column g at k = t, t+8, in pairs along k.
__device__ inline void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace longspan::cuda
