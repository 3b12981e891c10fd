// Rows of [n, heads, size] tensors, one a token and head, in parallel over blocks of tokens.
#pragma once

#include "kernels/cpu/parallel.h"

namespace longspan::cpu {

// Of x [n, heads, size], or of statistics [n, heads] or [n].
template <class T>
T* row_of(const Tensor& x, std::int64_t t, std::int64_t h) {
  return static_cast<T*>(x.data) + t * x.stride[0] + (x.dims > 1 ? h * x.stride[1] : 0);
}

// body(token, head) for every row of x [n, heads, size].
template <class Body>
void for_each_row(const Exec& exec, const Tensor& x, Body body) {
  parallel_for(exec, blocks_of_rows(x.shape[0], x.shape[1] * x.shape[2]),
               [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                 for (std::int64_t t = begin; t < end; ++t)
                   for (std::int64_t h = 0; h < x.shape[1]; ++h) body(t, h);
               });
}

}  // namespace longspan::cpu
