#include <algorithm>

#include "device/launch.cuh"
#include "kernels/cuda/column_sums.h"

namespace longspan::cuda {
namespace {

constexpr std::int64_t kMaxBlocks = 64;
constexpr std::int64_t kMinRows = 16;  // fewer rows are not worth a block
constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads)
    add_partials_kernel(const float* partials, std::int64_t blocks, std::int64_t width, float* out) {
  const std::int64_t column = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= width) return;
  float sum = out[column];
  for (std::int64_t b = 0; b < blocks; ++b) sum += partials[b * width + column];
  out[column] = sum;
}

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
  const Tensor partials =
      exec.workspace->allocate("column sums", MemoryCategory::kWorkspace, DType::kF32, {blocks.num(), width});
  sum_blocks(blocks, partials.get<float>());
  const Launch how{.grid = static_cast<unsigned>((width + kThreads - 1) / kThreads), .block = kThreads};
  launch(exec, "add_partials", how, add_partials_kernel, partials.get<float>(), blocks.num(), width, out.get<float>());
}

}  // namespace longspan::cuda
