// Arguments of the operators whose public functions take them one by one; see layer_ops.h,
// training_ops.h, attention.h and row_codec.h.
#pragma once

#include <span>

#include "kernels/ops/kernel.h"
#include "kernels/ops/layer_ops.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/training_ops.h"

namespace longspan {

struct EmbeddingForward {
  Tensor tokens, table, out;
};
struct EmbeddingBackward {
  Tensor tokens, dout, dtable;
};
struct RotaryTable {
  Tensor positions;
  std::span<const float> inverse_frequency;
  float attention_factor = 1;
  Tensor cos, sin;
};
struct Rotary {
  Tensor x, cos, sin;
  RotaryDirection direction = RotaryDirection::kForward;
};
struct SwigluForward {
  Tensor gate, up, out;
};
struct SwigluBackward {
  Tensor gate, up, dout, dgate, dup;
};
struct Add {
  Tensor a, b, out;
};
struct Cast {
  Tensor in, out;
};
struct AddRowSum {
  Tensor x, out;
};
struct FillZero {
  Tensor out;
};
struct SumOfSquares {
  Tensor x, out;
};
struct ClearCarry {
  Tensor out, lse;
};
struct MergeCarry {
  Tensor out, lse, more_out, more_lse;
};
struct FinishForward {
  Tensor out, lse, sink, result, total_lse;
};
struct BeginBackward {
  Tensor out, dout, total_lse, sink, delta, dsink;
};
struct EncodeRows {
  Tensor values, codes, scale;
};
struct DecodeRows {
  Tensor codes, scale, values;
};

}  // namespace longspan
