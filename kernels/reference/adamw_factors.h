// The factors of one AdamW step (training_ops.h), formed in double and rounded once, for kernels that compute in fp32.
#pragma once

#include <cmath>

#include "kernels/ops/training_ops.h"

namespace longspan {

struct AdamWFactors {
  float grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, inverse_correction1, inverse_correction2, eps;
  float lr, weight_decay;
};

inline AdamWFactors factors_of(const AdamW& args) {
  const auto step = static_cast<double>(args.step);
  const double beta1 = args.beta1, beta2 = args.beta2;
  return {.grad_scale = args.grad_scale,
          .beta1 = args.beta1,
          .one_minus_beta1 = static_cast<float>(1 - beta1),
          .beta2 = args.beta2,
          .one_minus_beta2 = static_cast<float>(1 - beta2),
          .inverse_correction1 = static_cast<float>(1 / (1 - std::pow(beta1, step))),
          .inverse_correction2 = static_cast<float>(1 / (1 - std::pow(beta2, step))),
          .eps = args.eps,
          .lr = args.lr,
          .weight_decay = args.weight_decay};
}

}  // namespace longspan
