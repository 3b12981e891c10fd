// Elementwise kernels: rows of several operands walked over in pieces, one a thread at a time.
#pragma once

#include "device/launch.cuh"
#include "device/memory.cuh"
#include "kernels/cuda/element_rows.h"
#include "kernels/cuda/plan.h"

namespace longspan::cuda {

inline constexpr int kPieceThreads = 256;

// body(row, column, count) for the pieces of all rows, kVector columns each; the last of a row may be shorter.
template <int kVector, int N, class Body>
__device__ inline void for_each_piece(const ElementRows<N>& rows, const Body& body) {
  const std::int64_t pieces = (rows.width + kVector - 1) / kVector, step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < rows.rows * pieces; i += step) {
    const std::int64_t row = rows.rows == 1 ? 0 : i / pieces;  // a division is dear
    const std::int64_t column = (i - row * pieces) * kVector;
    const std::int64_t left = rows.width - column;
    body(row, column, left < kVector ? static_cast<int>(left) : kVector);
  }
}

// One piece: whole vectors, or its elements one by one.
template <int kVector, class T>
__device__ Vector<T, kVector> load_piece(const T* from, int count) {
  if (count == kVector) return load_vector<kVector>(from);
  Vector<T, kVector> x{};
  for (int i = 0; i < count; ++i) x[i] = from[i];
  return x;
}
template <int kVector, class T>
__device__ void store_piece(T* to, const Vector<T, kVector>& x, int count) {
  if (count == kVector) return store_vector(to, x);
  for (int i = 0; i < count; ++i) to[i] = x[i];
}

// As many blocks as keep the device busy, or fewer where there is less to do.
template <int N>
inline Launch launch_over(const Exec& exec, const ElementRows<N>& rows, int vector) {
  const std::int64_t pieces = rows.rows * ceil_div(rows.width, vector);
  constexpr int kBlocksOfMultiprocessor = 8;
  return {.grid = dim3(grid_blocks(ceil_div(pieces, kPieceThreads), properties_of(exec).multiprocessors,
                                   kBlocksOfMultiprocessor)),
          .block = dim3(kPieceThreads)};
}

}  // namespace longspan::cuda
