// SwiGLU (Shazeer 2020) of one element, in any arithmetic.
#pragma once

#include <cmath>

#include "kernels/core/platform.h"

namespace longspan::reference {

template <class T>
LS_HD T sigmoid(T z) {
  using std::exp;
  return T(1) / (T(1) + exp(-z));
}

template <class T>
LS_HD T swiglu(T gate, T up) {
  return gate * sigmoid(gate) * up;
}

// silu'(z) = s(z) * (1 + z * s(-z)) with s the sigmoid; s(-z) rather than 1 - s(z), which cancels.
template <class T>
LS_HD void swiglu_gradient(T gate, T up, T dout, T* dgate, T* dup) {
  const T s = sigmoid(gate);
  *dgate = dout * up * s * (T(1) + gate * sigmoid(-gate));
  *dup = dout * gate * s;
}

}  // namespace longspan::reference
