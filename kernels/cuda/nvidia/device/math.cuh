// The fast functions of the GPU (their errors: "CUDA C++ Programming Guide", intrinsic functions), and pairs of
// bfloat16 in one word.
#pragma once

#include <cstdint>

#include "device/platform.cuh"
#include "kernels/core/dtype.h"

namespace longspan::cuda {

__device__ inline float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float exp(float x) {
  return __expf(x);
}
__device__ inline float log(float x) {
  return __logf(x);
}
__device__ inline float log2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float rsqrt(float x) {
  return rsqrtf(x);
}
__device__ inline float reciprocal(float x) {
  return __frcp_rn(x);
}
__device__ inline float fma(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}

// `low` in the lower half. Rounds to nearest even.
__device__ inline std::uint32_t pack_bf16(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ inline float2 unpack_bf16(std::uint32_t pair) {
  return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}

}  // namespace longspan::cuda
