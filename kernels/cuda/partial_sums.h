// Sums over rows in two stages: blocks of a kernel leave partial sums, and these are added up in the order of blocks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/core/exec.h"

namespace longspan::cuda {

// Blocks that leave a row of partial sums: enough for every multiprocessor to have two, few enough to be added up in no
// time. The same on every device, so that a model's scratch is known without one.
inline constexpr std::int64_t kMaxPartialRows = 256;

// [rows, width] fp32 scratch, uninitialised.
Tensor allocate_partial_sums(const Exec& exec, std::int64_t rows, std::int64_t width);

// out[width] fp32 += the rows of partials [rows, width], in order.
void add_partial_sums(const Exec& exec, const Tensor& partials, const Tensor& out);

}  // namespace longspan::cuda
