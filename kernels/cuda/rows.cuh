// Rows of a tensor's last dimension as kernels see them, read and written in chunks of eight elements.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "device/memory.cuh"
#include "device/platform.cuh"
#include "kernels/core/tensor.h"

namespace longspan::cuda {

// A tensor [d0, …, width] as d0 * … rows of T, whatever the strides of the outer dimensions. Passed by value.
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t middle = 1, inner = 1;  // sizes of the second and third outer dimension
  std::int64_t outer_stride = 0, middle_stride = 0, inner_stride = 0;

  __device__ T* operator[](std::int64_t row) const {
    if (middle * inner == 1) return data + row * outer_stride;
    const std::int64_t rest = row / inner;
    return data + rest / middle * outer_stride + rest % middle * middle_stride + row % inner * inner_stride;
  }
};

template <class T>
Rows<T> make_rows(const Tensor& tensor) {
  Rows<T> rows{.data = tensor.get<T>()};
  if (tensor.dims > 1) rows.outer_stride = tensor.stride[0];
  if (tensor.dims > 2) {
    rows.middle = tensor.shape[1];
    rows.middle_stride = tensor.stride[1];
  }
  if (tensor.dims > 3) {
    rows.inner = tensor.shape[2];
    rows.inner_stride = tensor.stride[2];
  }
  return rows;
}

inline std::int64_t width_of(const Tensor& tensor) {
  return tensor.size(tensor.dims - 1);
}
// How many rows; 0 where they have no elements.
inline std::int64_t rows_of(const Tensor& tensor) {
  return width_of(tensor) == 0 ? 0 : tensor.numel() / width_of(tensor);
}

// Chunks: what a thread reads and writes at once, as floats.
inline constexpr int kChunk = 8;
constexpr std::int64_t chunks_of(std::int64_t width) {
  return (width + kChunk - 1) / kChunk;
}

// Whether every chunk of every row of all these tensors starts at a multiple of 16 bytes, so that whole chunks move in
// vectors.
enum class Access : std::uint8_t { kElements, kVectors };
inline Access access_to(std::initializer_list<Tensor> tensors) {
  constexpr std::int64_t kBytes = 16;
  for (const Tensor& tensor : tensors) {
    if (reinterpret_cast<std::uintptr_t>(tensor.data) % kBytes != 0) return Access::kElements;
    for (int d = 0; d + 1 < tensor.dims; ++d)
      if (tensor.shape[d] > 1 && tensor.stride[d] * size_of(tensor.dtype) % kBytes != 0) return Access::kElements;
  }
  return Access::kVectors;
}

// Elements p[0 … count-1], count <= 8, and zeros behind them. What a thread has read it may overwrite: loads are plain.
template <class T>
__device__ inline void load_chunk(const T* p, int count, Access access, float (&x)[kChunk]) {
  constexpr int kLanes = 16 / sizeof(T);
  using Lanes = Vector<T, kLanes>;
  if (count >= kChunk && access == Access::kVectors) {
    for (int v = 0; v < kChunk / kLanes; ++v) {
      const Lanes lanes = *reinterpret_cast<const Lanes*>(p + v * kLanes);
      for (int i = 0; i < kLanes; ++i) x[v * kLanes + i] = static_cast<float>(lanes[i]);
    }
  } else {
    for (int i = 0; i < kChunk; ++i) x[i] = i < count ? static_cast<float>(p[i]) : 0.0f;
  }
}
template <class T>
__device__ inline void store_chunk(T* p, int count, Access access, const float (&x)[kChunk]) {
  constexpr int kLanes = 16 / sizeof(T);
  if (count >= kChunk && access == Access::kVectors) {
    for (int v = 0; v < kChunk / kLanes; ++v) {
      Vector<T, kLanes> lanes;
      for (int i = 0; i < kLanes; ++i) lanes[i] = T(x[v * kLanes + i]);
      store_vector(p + v * kLanes, lanes);
    }
  } else {
    for (int i = 0; i < kChunk; ++i)
      if (i < count) p[i] = T(x[i]);
  }
}

// How many elements of a row the chunk that begins at `begin` has, 8 at most; none past the end.
__device__ inline int chunk_length(std::int64_t begin, std::int64_t width) {
  const std::int64_t left = width - begin;
  return left >= kChunk ? kChunk : left > 0 ? static_cast<int>(left) : 0;
}

}  // namespace longspan::cuda
