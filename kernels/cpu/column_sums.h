// Sums over rows, one for each column, in an order fixed by the shape alone.
#pragma once

#include <functional>

#include "kernels/core/exec.h"

namespace longspan::cpu {

// out [width] fp32 += the sum of all rows. Rows fall into at most 64 blocks; add_rows(partial, begin, end) adds the
// rows begin … end-1 to a zeroed row of `width`; the blocks' rows are then added in order. Scratch: 64 x width fp32.
void add_column_sums(const Exec& exec, std::int64_t rows, const Tensor& out,
                     const std::function<void(float*, std::int64_t, std::int64_t)>& add_rows);

}  // namespace longspan::cpu
