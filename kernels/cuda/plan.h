// Planning of launches that the operator families share: plain functions of sizes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/core/dtype.h"
#include "kernels/core/error.h"

namespace longspan::cuda {

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// Blocks of a grid that walks over `work` blocks' worth of items: one each, or as many as keep the device busy.
inline unsigned grid_blocks(std::int64_t work, int multiprocessors, int blocks_per_multiprocessor) {
  return static_cast<unsigned>(std::min<std::int64_t>(work, std::int64_t{multiprocessors} * blocks_per_multiprocessor));
}

// Calls f with a value of the element type: T = decltype(value).
template <class F>
void with_float_type(DType dtype, const F& f) {
  if (dtype == DType::kBF16)
    f(bf16());
  else
    f(0.0f);
}

}  // namespace longspan::cuda
