// AdamW of one element (Loshchilov & Hutter 2019, algorithm 2), in any arithmetic.
#pragma once

#include <cmath>

#include "kernels/core/platform.h"

namespace longspan::reference {

struct AdamWStep {
  double lr, beta1, beta2, eps, weight_decay;
  double correction1, correction2;  // 1 - beta^step
};

template <class T>
LS_HD void adamw_element(const AdamWStep& step, T grad, T* weight, T* m, T* v) {
  using std::sqrt;
  *m = step.beta1 * *m + (1 - step.beta1) * grad;
  *v = step.beta2 * *v + (1 - step.beta2) * grad * grad;
  *weight -= step.lr * (*m / step.correction1 / (sqrt(*v / step.correction2) + step.eps) + step.weight_decay * *weight);
}

}  // namespace longspan::reference
