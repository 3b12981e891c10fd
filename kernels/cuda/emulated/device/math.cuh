// The fast functions of a GPU, as exactly as the host has them, and pairs of bfloat16 in one word.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "device/platform.cuh"
#include "kernels/core/dtype.h"

namespace longspan::cuda {

__device__ inline float exp2(float x) {
  return std::exp2(x);
}
__device__ inline float exp(float x) {
  return std::exp(x);
}
__device__ inline float log(float x) {
  return std::log(x);
}
__device__ inline float log2(float x) {
  return std::log2(x);
}
__device__ inline float rsqrt(float x) {
  return 1.0f / std::sqrt(x);
}
__device__ inline float reciprocal(float x) {
  return 1.0f / x;
}
__device__ inline float fma(float a, float b, float c) {
  return std::fma(a, b, c);
}

// `low` in the lower half. Rounds to nearest even.
__device__ inline std::uint32_t pack_bf16(float low, float high) {
  return static_cast<std::uint32_t>(bf16(low).bits) | static_cast<std::uint32_t>(bf16(high).bits) << 16;
}
__device__ inline float2 unpack_bf16(std::uint32_t pair) {
  return {std::bit_cast<float>(pair << 16), std::bit_cast<float>(pair & 0xffff0000u)};
}

}  // namespace longspan::cuda
