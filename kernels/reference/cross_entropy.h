// Softmax cross-entropy of one token, in any arithmetic.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>

#include "kernels/core/platform.h"

namespace longspan::reference {

// log(sum_j exp(logit_j)), exponents formed from non-positive differences of the real parts.
template <class T>
LS_HD T log_sum_exp(const T* logits, std::int64_t count) {
  using std::exp, std::log, std::real;
  double highest = real(logits[0]);
  for (std::int64_t j = 1; j < count; ++j) highest = real(logits[j]) > highest ? real(logits[j]) : highest;
  T sum = 0;
  for (std::int64_t j = 0; j < count; ++j) sum += exp(logits[j] - highest);
  return highest + log(sum);
}

// -log softmax(logits)[label].
template <class T>
LS_HD T cross_entropy(const T* logits, std::int64_t count, std::int64_t label) {
  return log_sum_exp(logits, count) - logits[label];
}

// The gradient of cross_entropy: softmax(logits) - onehot(label).
template <class T>
LS_HD void cross_entropy_gradient(const T* logits, std::int64_t count, std::int64_t label, T* dlogits) {
  using std::exp;
  const T lse = log_sum_exp(logits, count);
  for (std::int64_t j = 0; j < count; ++j) dlogits[j] = exp(logits[j] - lse) - (j == label ? 1.0 : 0.0);
}

}  // namespace longspan::reference
