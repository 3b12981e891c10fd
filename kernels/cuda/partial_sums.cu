#include "device/launch.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/plan.h"

namespace longspan::cuda {
namespace {

constexpr int kWarps = 8;

// A block adds up 32 columns: warp w the rows w, w + 8, …, then the warps' sums in order.
__global__ void add_rows(const float* partials, std::int64_t rows, std::int64_t width, float* out) {
  __shared__ float sums[kWarps * kWarp];
  const std::int64_t column = std::int64_t{blockIdx.x} * kWarp + lane();
  float sum = 0;
  if (column < width)
    for (std::int64_t r = warp_of_block(); r < rows; r += kWarps) sum += partials[r * width + column];
  sums[warp_of_block() * kWarp + lane()] = sum;
  sync_block();
  if (warp_of_block() != 0 || column >= width) return;
  for (int w = 1; w < kWarps; ++w) sum += sums[w * kWarp + lane()];
  out[column] += sum;
}

}  // namespace

Tensor allocate_partial_sums(const Exec& exec, std::int64_t rows, std::int64_t width) {
  LS_CHECK(exec.workspace, "a sum of rows of {} needs a workspace", width);
  return exec.workspace->allocate("partial sums", MemoryCategory::kWorkspace, DType::kF32, {rows, width});
}

void add_partial_sums(const Exec& exec, const Tensor& partials, const Tensor& out) {
  const std::int64_t width = partials.size(1);
  const Launch how{.grid = dim3(static_cast<unsigned>(ceil_div(width, kWarp))), .block = dim3(kWarps * kWarp)};
  launch(exec, "add_partial_sums", how, add_rows, partials.get<float>(), partials.size(0), width, out.get<float>());
}

}  // namespace longspan::cuda
