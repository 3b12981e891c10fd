// The memory-bound operators of a transformer: embedding, RMSNorm, rotary positions, SwiGLU, addition.
//
// "float dtype" is fp32 or bf16, alike for all operands of a call unless stated. Statistics and sums are fp32 or
// better. Weight gradients are fp32 and added to (+=); activation gradients are written (=) unless stated. Results
// do not depend on exec.num_threads. Scratch: 64 x width fp32 for the sums over rows of rms_norm_backward and
// add_row_sum, else none; on a GPU 256 x width for rms_norm_backward, and for embedding_backward T int32 and T / 32
// rows of fp32.
#pragma once

#include <span>

#include "kernels/core/exec.h"
#include "kernels/ops/op_list.h"

namespace longspan {

// out[T,E] = table[V,E][tokens[T] int32]. Throws Error(kData) naming the place of a token outside the table; on a
// device, whose memory the host does not read (see expect_between), such a token's row is zeros.
void embedding_forward(const Exec& exec, const Tensor& tokens, const Tensor& table, const Tensor& out);
// dtable[V,E] fp32 += rows of dout[T,E], in token order. Tokens outside the table: as above, and left out on a device.
void embedding_backward(const Exec& exec, const Tensor& tokens, const Tensor& dout, const Tensor& dtable);

// y = x / sqrt(mean(x^2) + eps) * weight, over the last dimension (Zhang & Sennrich 2019, eq. 4).
struct RmsNormForward {
  Tensor x;       // [T,E] or [T,H,D], any outer strides
  Tensor weight;  // [E] or [D], same dtype as x
  Tensor y;       // like x; may alias x
  Tensor rstd{};  // [T] or [T,H] fp32, saved for backward; absent: not saved
  float eps = 1e-5f;
};
void rms_norm_forward(const Exec& exec, const RmsNormForward& args);
struct RmsNormBackward {
  Tensor x, weight, rstd;
  Tensor dy;       // like x
  Tensor dx;       // like x, written; may alias dy
  Tensor dweight;  // [E] or [D] fp32 +=
};
void rms_norm_backward(const Exec& exec, const RmsNormBackward& args);

// Tables for rotary positions: cos, sin [T, D/2] fp32 of positions[T] int32 times inverse_frequency [D/2] (in host
// memory on every device; the angle is formed in double), both multiplied by attention_factor (YaRN's; 1 otherwise).
void rotary_table(const Exec& exec, const Tensor& positions, std::span<const float> inverse_frequency,
                  float attention_factor, const Tensor& cos, const Tensor& sin);
// In place on x[T,H,D]: pairs (x_i, x_{i+D/2}) turn by the angle (the half-split convention of Hugging Face's Llama).
// kBackward turns the other way, which is the transpose.
enum class RotaryDirection : std::uint8_t { kForward, kBackward };
void rotary(const Exec& exec, const Tensor& x, const Tensor& cos, const Tensor& sin, RotaryDirection direction);

// out[T,F] = silu(gate) * up, silu(z) = z / (1 + exp(-z)).
void swiglu_forward(const Exec& exec, const Tensor& gate, const Tensor& up, const Tensor& out);
// dgate may alias gate, dup may alias up.
void swiglu_backward(const Exec& exec, const Tensor& gate, const Tensor& up, const Tensor& dout, const Tensor& dgate,
                     const Tensor& dup);

// out = a + b; out may alias either.
void add(const Exec& exec, const Tensor& a, const Tensor& b, const Tensor& out);
// out = in, between any two float dtypes.
void cast(const Exec& exec, const Tensor& in, const Tensor& out);
// out[E] fp32 += the sum over rows of x[T,E], in a fixed order (bias gradients).
void add_row_sum(const Exec& exec, const Tensor& x, const Tensor& out);
void fill_zero(const Exec& exec, const Tensor& out);

}  // namespace longspan
