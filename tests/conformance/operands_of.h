// The tensors of an operator's arguments that lie on the device that runs it.
#pragma once

#include <vector>

#include "kernels/ops/kernel_args.h"

namespace longspan::testing {

using Operands = std::vector<Tensor*>;

inline Operands operands_of(Matmul& x) {
  return {&x.a, &x.b, &x.c, &x.bias, &x.residual};
}
inline Operands operands_of(EmbeddingForward& x) {
  return {&x.tokens, &x.table, &x.out};
}
inline Operands operands_of(EmbeddingBackward& x) {
  return {&x.tokens, &x.dout, &x.dtable};
}
inline Operands operands_of(RmsNormForward& x) {
  return {&x.x, &x.weight, &x.y, &x.rstd};
}
inline Operands operands_of(RmsNormBackward& x) {
  return {&x.x, &x.weight, &x.rstd, &x.dy, &x.dx, &x.dweight};
}
inline Operands operands_of(RotaryTable& x) {
  return {&x.positions, &x.cos, &x.sin};
}
inline Operands operands_of(Rotary& x) {
  return {&x.x, &x.cos, &x.sin};
}
inline Operands operands_of(SwigluForward& x) {
  return {&x.gate, &x.up, &x.out};
}
inline Operands operands_of(SwigluBackward& x) {
  return {&x.gate, &x.up, &x.dout, &x.dgate, &x.dup};
}
inline Operands operands_of(Add& x) {
  return {&x.a, &x.b, &x.out};
}
inline Operands operands_of(Cast& x) {
  return {&x.in, &x.out};
}
inline Operands operands_of(AddRowSum& x) {
  return {&x.x, &x.out};
}
inline Operands operands_of(FillZero& x) {
  return {&x.out};
}
inline Operands operands_of(HeadLoss& x) {
  return {&x.hidden, &x.weight, &x.labels, &x.dhidden, &x.dweight, &x.totals};
}
inline Operands operands_of(SumOfSquares& x) {
  return {&x.x, &x.out};
}
inline Operands operands_of(AdamW& x) {
  return {&x.weight, &x.grad, &x.m, &x.v, &x.compute_copy};
}
inline Operands operands_of(EncodeRows& x) {
  return {&x.values, &x.codes, &x.scale};
}
inline Operands operands_of(DecodeRows& x) {
  return {&x.codes, &x.scale, &x.values};
}

}  // namespace longspan::testing
