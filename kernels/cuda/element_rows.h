// Operands of one shape as rows of contiguous elements, and the widest vectors that suit them all.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "kernels/core/tensor.h"

namespace longspan::cuda {

// N tensors of one shape whose last dimensions are contiguous. Neighbouring dimensions are merged where all operands
// allow it: contiguous operands of whatever shape are one row. A kernel takes it as an argument.
template <int N>
struct ElementRows {
  static constexpr int kOuter = Tensor::kMaxDims - 1;

  std::int64_t rows = 0, width = 0;
  int outer = 0;  // dimensions that number the rows
  std::int64_t shape[kOuter] = {};
  std::int64_t stride[N][kOuter] = {};  // in elements

  // Elements from an operand's first to the first of a row.
  LS_HD std::int64_t offset(int operand, std::int64_t row) const {
    std::int64_t elements = 0;
    for (int d = outer - 1; d > 0; --d) {
      elements += row % shape[d] * stride[operand][d];
      row /= shape[d];
    }
    return outer > 0 ? elements + row * stride[operand][0] : 0;
  }
};

template <int N>
ElementRows<N> element_rows(const std::array<Tensor, N>& operands) {
  const Tensor& first = operands[0];
  ElementRows<N> plan;
  if (first.numel() == 0) return plan;
  plan.width = first.shape[first.dims - 1];
  std::int64_t merged[N];  // an operand's distance between neighbours of the outermost dimension merged so far
  for (std::int64_t& each : merged) each = 1;
  std::int64_t inner = plan.width;  // size of that dimension
  for (int d = first.dims - 2; d >= 0; --d) {
    if (first.shape[d] == 1) continue;
    bool follows = true;
    for (int i = 0; i < N; ++i) follows &= operands[i].stride[d] == inner * merged[i];
    if (follows && plan.outer == 0) {
      plan.width *= first.shape[d];
      inner = plan.width;
      continue;
    }
    if (follows) {
      const int last = plan.outer - 1;
      plan.shape[last] *= first.shape[d];
      inner = plan.shape[last];
      continue;
    }
    const int next = plan.outer++;
    plan.shape[next] = inner = first.shape[d];
    for (int i = 0; i < N; ++i) plan.stride[i][next] = merged[i] = operands[i].stride[d];
  }
  // Found innermost first, kept outermost first.
  for (int a = 0, b = plan.outer - 1; a < b; ++a, --b) {
    std::swap(plan.shape[a], plan.shape[b]);
    for (int i = 0; i < N; ++i) std::swap(plan.stride[i][a], plan.stride[i][b]);
  }
  plan.rows = 1;
  for (int d = 0; d < plan.outer; ++d) plan.rows *= plan.shape[d];
  return plan;
}

// How many elements of each operand a thread may take at once: `most` if every row of every operand starts at a
// multiple of so many, else 1.
template <int N>
int vector_width(const ElementRows<N>& plan, const std::array<Tensor, N>& operands, int most) {
  for (int i = 0; i < N; ++i) {
    if (reinterpret_cast<std::uintptr_t>(operands[i].data) %
        static_cast<std::uintptr_t>(most * size_of(operands[i].dtype)))
      return 1;
    for (int d = 0; d < plan.outer; ++d)
      if (plan.stride[i][d] % most != 0) return 1;
  }
  return most;
}

}  // namespace longspan::cuda
