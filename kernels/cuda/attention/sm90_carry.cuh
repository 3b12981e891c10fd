// A row of a finished item merged into its fp32 carry, as merge_carry (attention.h) defines it.
#pragma once

#include <cmath>

#include "device/math.cuh"
#include "device/memory.cuh"
#include "kernels/cuda/hopper_layout.h"

namespace longspan::cuda::sm90 {

// By the four lanes that hold row half `half` (0: the upper one) of the fragment o, which `factor` turns into that
// row's result over the keys of lse. `before` is the carried lse, which all four have read.
template <int kCount>
__device__ __forceinline__ void merge_row(const float (&o)[kCount], int half, float factor, float lse, float before,
                                          float* out, float* carried_lse, int thread) {
  float keep = 0, take = factor;
  float merged = lse;
  if (before != -INFINITY) {
    const float x = lse - before;
    const float tail = exp(-fabsf(x));
    const float weight = (x >= 0 ? 1.0f : tail) / (1 + tail);  // sigmoid(x) without overflow
    keep = 1 - weight;
    take = factor * weight;
    merged = fmaxf(lse, before) + log1pf(tail);
  }
#pragma unroll
  for (int i = 0; i < kCount / 4; ++i) {
    Vector<float, 2>* place = reinterpret_cast<Vector<float, 2>*>(out + fragment_column(thread, 4 * i));
    Vector<float, 2> value{{o[4 * i + 2 * half] * take, o[4 * i + 2 * half + 1] * take}};
    if (keep != 0) {
      const Vector<float, 2> old = *place;
      value[0] = fma(old[0], keep, value[0]);
      value[1] = fma(old[1], keep, value[1]);
    }
    *place = value;
  }
  if (thread % 4 == 0) *carried_lse = merged;
}

}  // namespace longspan::cuda::sm90
