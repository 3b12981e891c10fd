// Aligned loads and stores of several elements at once.
#pragma once

#include "device/platform.cuh"
#include "kernels/core/error.h"

namespace longspan::cuda {

// N elements side by side, read and written as one; at most 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  static_assert(sizeof(T) * N <= 16 && (N & (N - 1)) == 0, "1, 2, 4 … elements, 16 bytes at most");
  T at[N];
  __device__ T& operator[](int i) { return at[i]; }
  __device__ const T& operator[](int i) const { return at[i]; }
};

template <class T>
__device__ inline bool is_aligned(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p) % alignof(T) == 0;
}

// Global memory that nobody writes while the kernel runs.
template <class T>
__device__ inline T load_global(const T* p) {
  LS_CHECK(is_aligned<T>(p), "load of {} bytes from an address that is no multiple of {}", sizeof(T), alignof(T));
  return *p;
}
template <int N, class T>
__device__ inline Vector<T, N> load_global_vector(const T* p) {
  return load_global(reinterpret_cast<const Vector<T, N>*>(p));
}
// Any memory.
template <int N, class T>
__device__ inline Vector<T, N> load_vector(const T* p) {
  return load_global(reinterpret_cast<const Vector<T, N>*>(p));
}
template <class T, int N>
__device__ inline void store_vector(T* p, const Vector<T, N>& x) {
  using Aligned = Vector<T, N>;
  LS_CHECK(is_aligned<Aligned>(p), "store of {} bytes to an address that is no multiple of that", sizeof(x));
  *reinterpret_cast<Aligned*>(p) = x;
}

}  // namespace longspan::cuda
