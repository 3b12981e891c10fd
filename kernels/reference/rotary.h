// Rotary positions (Su et al. 2021) on pairs (x_i, x_{i+D/2}), in any arithmetic.
#pragma once

#include <cstdint>

#include "kernels/core/platform.h"

namespace longspan::reference {

// Turns each pair of x[2 * half] in place by the angle with this cosine and sine; turn = 1 forward, -1 backward.
template <class T>
LS_HD void rotary_row(T* x, const T* cos, const T* sin, std::int64_t half, double turn) {
  for (std::int64_t i = 0; i < half; ++i) {
    const T first = x[i], second = x[i + half], s = sin[i] * turn;
    x[i] = first * cos[i] - second * s;
    x[i + half] = second * cos[i] + first * s;
  }
}

}  // namespace longspan::reference
