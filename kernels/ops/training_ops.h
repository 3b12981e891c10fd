// The operators around the model: output head with its loss, gradient norm, AdamW.
#pragma once

#include <cstdint>

#include "kernels/core/exec.h"
#include "kernels/ops/op_list.h"

namespace longspan {

// Softmax cross-entropy fused with the output head, in chunks of tokens, so that full logits never exist.
struct HeadLoss {
  Tensor hidden;         // [T,E] float dtype
  Tensor weight;         // [V,E] same dtype
  Tensor labels;         // [T] int32; -1: no loss at this token
  float grad_scale = 0;  // of each token's loss in the gradients (1 / tokens with a label in the whole batch)
  Tensor dhidden{};      // [T,E] same dtype, written; absent: loss only
  Tensor dweight{};      // [V,E] fp32 +=; absent exactly when dhidden is
  Tensor totals;         // [2] fp64 +=: the sum of losses (natural log, unscaled), the number of tokens with a label
  std::int64_t chunk_tokens = 512;
};
// Throws Error(kData) naming the place of a label outside -1 … V-1; on a device, whose memory the host does not read,
// such a token counts as one without a label (see expect_between). Scratch: chunk_tokens x V fp32, on the CPU as
// many bf16 for bf16 operands, and a matmul's.
void head_loss(const Exec& exec, const HeadLoss& args);

// out[1] fp64 += the sum of squares of an fp32 tensor, in double, in a fixed order. NaN or infinity show in the result.
void sum_of_squares(const Exec& exec, const Tensor& x, const Tensor& out);

// Decoupled weight decay Adam (Loshchilov & Hutter 2019, algorithm 2), all state fp32:
//   g = grad * grad_scale; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
//   w -= lr * (m / (1 - b1^step) / (sqrt(v / (1 - b2^step)) + eps) + weight_decay * w).
//
// A bf16 copy is rounded to the nearest, or at random up or down so that its expected value is the weight's: then the
// copy, too, follows updates far smaller than its step. Which way depends on rounding_seed and the element's place
// alone.
enum class CopyRounding : std::uint8_t { kNearest, kStochastic };
struct AdamW {
  Tensor weight, grad, m, v;  // fp32, same number of elements, contiguous; grad is only read
  Tensor compute_copy{};      // bf16 or fp32 copy of the weight to refresh; absent: none
  float lr = 0, beta1 = 0.9f, beta2 = 0.95f, eps = 1e-8f, weight_decay = 0, grad_scale = 1;
  std::int64_t step = 1;  // counted from 1
  CopyRounding copy_rounding = CopyRounding::kNearest;
  std::uint64_t rounding_seed = 0;  // of kStochastic: another one for each tensor and step
};
void adamw(const Exec& exec, const AdamW& args);

}  // namespace longspan
