// RMSNorm of one row (Zhang & Sennrich 2019, eq. 4), in any arithmetic: double, or complex for differentiation.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/core/platform.h"

namespace longspan::reference {

// 1 / sqrt(mean(x^2) + eps).
template <class T>
LS_HD T rms_norm_rstd(const T* x, std::int64_t width, double eps) {
  T sum = 0;
  for (std::int64_t i = 0; i < width; ++i) sum += x[i] * x[i];
  using std::sqrt;
  return T(1) / sqrt(sum / static_cast<double>(width) + eps);
}

template <class T>
LS_HD void rms_norm_row(const T* x, const T* weight, T* y, std::int64_t width, double eps) {
  const T rstd = rms_norm_rstd(x, width, eps);
  for (std::int64_t i = 0; i < width; ++i) y[i] = x[i] * rstd * weight[i];
}

// With r = rstd: dx_i = r * (w_i dy_i - x_i * r^2 * mean_j(w_j dy_j x_j)); dweight_i += dy_i x_i r.
template <class T>
LS_HD void rms_norm_row_backward(const T* x, const T* weight, T rstd, const T* dy, T* dx, T* dweight,
                                 std::int64_t width) {
  T dot = 0;
  for (std::int64_t i = 0; i < width; ++i) dot += weight[i] * dy[i] * x[i];
  const T along_x = dot * rstd * rstd / static_cast<double>(width);
  for (std::int64_t i = 0; i < width; ++i) {
    dx[i] = rstd * (weight[i] * dy[i] - x[i] * along_x);
    dweight[i] += dy[i] * x[i] * rstd;
  }
}

}  // namespace longspan::reference
