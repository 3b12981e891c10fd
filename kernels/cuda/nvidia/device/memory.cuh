// Aligned loads and stores of several elements at once.
#pragma once

#include <type_traits>

#include "device/platform.cuh"

namespace longspan::cuda {

// N elements side by side, read and written as one; at most 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  static_assert(sizeof(T) * N <= 16 && (N & (N - 1)) == 0, "1, 2, 4 … elements, 16 bytes at most");
  T at[N];
  __device__ T& operator[](int i) { return at[i]; }
  __device__ const T& operator[](int i) const { return at[i]; }
};

// Global memory that nobody writes while the kernel runs. Of 1, 2, 4, 8 or 16 bytes.
template <class T>
__device__ inline T load_global(const T* p) {
  static_assert(std::is_trivially_copyable_v<T>);
  union {
    T value;
    unsigned char u8;
    unsigned short u16;
    unsigned u32;
    uint2 u64;
    uint4 u128;
  } x;
  if constexpr (sizeof(T) == 1)
    x.u8 = __ldg(reinterpret_cast<const unsigned char*>(p));
  else if constexpr (sizeof(T) == 2)
    x.u16 = __ldg(reinterpret_cast<const unsigned short*>(p));
  else if constexpr (sizeof(T) == 4)
    x.u32 = __ldg(reinterpret_cast<const unsigned*>(p));
  else if constexpr (sizeof(T) == 8)
    x.u64 = __ldg(reinterpret_cast<const uint2*>(p));
  else {
    static_assert(sizeof(T) == 16, "no load of this width");
    x.u128 = __ldg(reinterpret_cast<const uint4*>(p));
  }
  return x.value;
}
template <int N, class T>
__device__ inline Vector<T, N> load_global_vector(const T* p) {
  return load_global(reinterpret_cast<const Vector<T, N>*>(p));
}
// Any memory.
template <int N, class T>
__device__ inline Vector<T, N> load_vector(const T* p) {
  return *reinterpret_cast<const Vector<T, N>*>(p);
}
template <class T, int N>
__device__ inline void store_vector(T* p, const Vector<T, N>& x) {
  *reinterpret_cast<Vector<T, N>*>(p) = x;
}

}  // namespace longspan::cuda
