// The sum of squares in two stages: partial sums of a number of blocks that depends on the size alone, then their sum
// in order.
#include "device/launch.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/pieces.cuh"
#include "kernels/cuda/plan.h"

namespace longspan::cuda {
namespace {

constexpr int kVector = 4;
constexpr std::int64_t kMaxBlocks = 512;

// Squares in double: gradients of any size neither overflow nor lose small terms.
template <int kElements>
__global__ void __launch_bounds__(kPieceThreads) square_kernel(ElementRows<1> rows, const float* x, double* partials) {
  __shared__ double sums[kPieceThreads / kWarp];
  double sum = 0;
  for_each_piece<kElements>(rows, [&](std::int64_t row, std::int64_t column, int count) {
    const Vector<float, kElements> piece = load_piece<kElements>(x + rows.offset(0, row) + column, count);
    for (int i = 0; i < kElements; ++i) sum += static_cast<double>(piece[i]) * piece[i];
  });
  sum = block_sum(sum, sums);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// One block.
__global__ void __launch_bounds__(kPieceThreads) add_kernel(const double* partials, std::int64_t count, double* out) {
  __shared__ double sums[kPieceThreads / kWarp];
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kPieceThreads) sum += partials[i];
  sum = block_sum(sum, sums);
  if (threadIdx.x == 0) *out += sum;
}

void run(const Exec& exec, const SumOfSquares& args) {
  if (args.x.numel() == 0) return;
  LS_CHECK(exec.workspace, "sum_of_squares of {} needs a workspace", args.x.describe());
  const std::array<Tensor, 1> operands = {args.x};
  const ElementRows<1> rows = element_rows<1>(operands);
  const int vector = vector_width<1>(rows, operands, kVector);
  const std::int64_t blocks = std::min(kMaxBlocks, ceil_div(rows.rows * ceil_div(rows.width, vector), kPieceThreads));
  Arena::Scope scope(*exec.workspace);
  const Tensor partials =
      exec.workspace->allocate("partial sums of squares", MemoryCategory::kWorkspace, DType::kF64, {blocks});
  launch(exec, "sum_of_squares", {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kPieceThreads)},
         vector == 1 ? square_kernel<1> : square_kernel<kVector>, rows, args.x.get<float>(), partials.get<double>());
  launch(exec, "add_sums_of_squares", {.grid = dim3(1), .block = dim3(kPieceThreads)}, add_kernel,
         partials.get<double>(), blocks, args.out.get<double>());
}

}  // namespace

const Kernel<SumOfSquares> kSumOfSquares{"two stages", needs_cuda, run};

}  // namespace longspan::cuda
