// What exponentials of a row are measured from (SoftmaxOrigin in attention.h), in powers of two.
#pragma once

#include <cmath>

#include "kernels/core/platform.h"
#include "kernels/ops/attention.h"

namespace longspan::cuda {

// kBelowOne: the smallest of the points n + kOriginPoint that lies kOriginMargin or more above the row's maximum. The
// largest probability then lies between 2^(-kOriginMargin - 1) and 2^-kOriginMargin and is rounded as every other is; a
// rise of the maximum rescales by powers of two, which is exact; a score of 0 weighs 81/128, which bf16 holds.
constexpr float kOriginMargin = 0.0976f, kOriginPoint = 0.66014919f;

// `maximum` is finite.
LS_HD inline float origin_of(float maximum, SoftmaxOrigin origin) {
  if (origin == SoftmaxOrigin::kMaximum) return maximum;
  return ceilf(maximum + (kOriginMargin - kOriginPoint)) + kOriginPoint;
}

}  // namespace longspan::cuda
