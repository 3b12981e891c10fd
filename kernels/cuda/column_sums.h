// Sums over rows, one for each column, in an order fixed by the shape alone.
#pragma once

#include <cstdint>
#include <functional>

#include "kernels/core/exec.h"

namespace longspan::cuda {

// [0, rows) in at most 64 blocks of equal size but for the last. A kernel takes it as an argument.
struct ColumnBlocks {
  std::int64_t rows = 0, block = 1;
  LS_HD std::int64_t num() const { return (rows + block - 1) / block; }
  LS_HD std::int64_t begin(std::int64_t b) const { return b * block; }
  LS_HD std::int64_t end(std::int64_t b) const { return (b + 1) * block < rows ? (b + 1) * block : rows; }
};
ColumnBlocks column_blocks(std::int64_t rows);

// out [width] fp32 += the sum of all rows. sum_blocks queues what writes the sum of each block's rows to its row of
// partials [num, width] fp32; they are then added in order. Scratch: 64 x width fp32.
void add_column_sums(const Exec& exec, std::int64_t rows, const Tensor& out,
                     const std::function<void(const ColumnBlocks&, float* partials)>& sum_blocks);

}  // namespace longspan::cuda
