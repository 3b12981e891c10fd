// Linear: y = x . weight^T (+ bias), its input gradient and, apart from it, its weight gradient.
#pragma once

#include "kernels/ops/layer_ops.h"
#include "kernels/ops/matmul.h"
#include "models/parameters.h"

namespace longspan {

struct Linear {
  Weight weight;  // [out, in]
  Weight bias;    // [out], or absent

  // y[c, out] = x[c, in] . weight^T + bias.
  void forward(const Exec& exec, const Tensor& x, const Tensor& y) const {
    matmul(exec, {.a = x, .b = weight.value, .c = y, .bias = bias.value, .b_layout = Layout::kTransposed});
  }
  // The same with residual [c, out] added: y may not lie where it does.
  void forward_onto(const Exec& exec, const Tensor& x, const Tensor& residual, const Tensor& y) const {
    matmul(
        exec,
        {.a = x, .b = weight.value, .c = y, .bias = bias.value, .residual = residual, .b_layout = Layout::kTransposed});
  }
  // dx[c, in] = (or +=) dy[c, out] . weight.
  void input_backward(const Exec& exec, const Tensor& dy, const Tensor& dx, WriteMode mode) const {
    matmul(exec, {.a = dy, .b = weight.value, .c = dx, .bias = {}, .mode = mode});
  }
  // weight.gradient += dy^T . x; bias.gradient += column sums of dy.
  void weight_backward(const Exec& exec, const Tensor& x, const Tensor& dy) const {
    matmul(exec, {.a = dy,
                  .b = x,
                  .c = weight.gradient,
                  .bias = {},
                  .a_layout = Layout::kTransposed,
                  .mode = WriteMode::kAccumulate});
    if (bias.value) add_row_sum(exec, dy, bias.gradient);
  }
};

}  // namespace longspan
