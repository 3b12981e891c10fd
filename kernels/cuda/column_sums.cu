#include <algorithm>

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/partial_sums.h"

namespace longspan::cuda {
namespace {

constexpr std::int64_t kMaxBlocks = 64;
constexpr std::int64_t kMinRows = 16;  // fewer rows are not worth a block
}  // namespace

ColumnBlocks column_blocks(std::int64_t rows) {
  return {rows, std::max(kMinRows, (rows + kMaxBlocks - 1) / kMaxBlocks)};
}

void add_column_sums(const Exec& exec, std::int64_t rows, const Tensor& out,
                     const std::function<void(const ColumnBlocks&, float*)>& sum_blocks) {
  const std::int64_t width = out.numel();
  if (rows == 0 || width == 0) return;
  LS_CHECK(exec.workspace, "a sum of {} rows of {} needs a workspace", rows, width);
  Arena::Scope scope(*exec.workspace);
  const ColumnBlocks blocks = column_blocks(rows);
  const Tensor partials = allocate_partial_sums(exec, blocks.num(), width);
  sum_blocks(blocks, partials.get<float>());
  add_partial_sums(exec, partials, out);
}

}  // namespace longspan::cuda
