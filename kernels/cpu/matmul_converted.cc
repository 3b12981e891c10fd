#include <algorithm>
#include <utility>

#include "kernels/cpu/matmul.h"
#include "kernels/ops/kernel_list.h"

namespace longspan::cpu {
namespace {

// Edge of the blocks that are converted: the conversions cost a few percent of a block's product, and the scratch
// stays at three fp32 blocks, 12 MiB.
constexpr std::int64_t kBlock = 1024;

struct Range {
  std::int64_t begin, end;
};

Range block_at(std::int64_t begin, std::int64_t size) {
  return {begin, std::min(size, begin + kBlock)};
}

Tensor block_of(const Tensor& matrix, Layout layout, Range rows, Range columns) {
  if (layout == Layout::kTransposed) std::swap(rows, columns);
  return matrix.narrow(0, rows.begin, rows.end).narrow(1, columns.begin, columns.end);
}

Tensor scratch_like(const Exec& exec, const Tensor& block) {
  return exec.workspace->allocate("matmul block in fp32", MemoryCategory::kWorkspace, DType::kF32,
                                  {block.size(0), block.size(1)});
}

Tensor as_f32(const Exec& exec, const Tensor& block) {
  if (block.dtype == DType::kF32) return block;
  const Tensor copy = scratch_like(exec, block);
  cast(exec, block, copy);
  return copy;
}

// One block of c, over all of k.
void run_block(const Exec& exec, const Matmul& args, Range rows, Range columns) {
  const std::int64_t k = sizes_of(args).k;
  const Tensor c = block_of(args.c, Layout::kPlain, rows, columns);
  Matmul part = args;
  part.bias = args.bias ? args.bias.narrow(0, columns.begin, columns.end) : Tensor();
  part.c = c.dtype == DType::kF32 ? c : scratch_like(exec, c);
  if (part.mode == WriteMode::kAccumulate && c.dtype != DType::kF32) cast(exec, c, part.c);
  std::int64_t begin = 0;
  do {  // at least once: an empty product still writes zeros or the bias
    Arena::Scope scope(*exec.workspace);
    const Range depth = block_at(begin, k);
    part.a = as_f32(exec, block_of(args.a, args.a_layout, rows, depth));
    part.b = as_f32(exec, block_of(args.b, args.b_layout, depth, columns));
    sgemm(exec, part);
    part.bias = Tensor();
    part.mode = WriteMode::kAccumulate;
    begin += kBlock;
  } while (begin < k);
  if (c.dtype != DType::kF32) cast(exec, part.c, c);
}

void run(const Exec& exec, const Matmul& args) {
  if (args.residual) return run(exec, started_with_residual(exec, args));
  LS_CHECK(exec.workspace, "matmul of {} and {} converts in a workspace", args.a.describe(), args.b.describe());
  const auto [m, n, k] = sizes_of(args);
  for (std::int64_t j = 0; j < n; j += kBlock)
    for (std::int64_t i = 0; i < m; i += kBlock) {
      Arena::Scope scope(*exec.workspace);
      run_block(exec, args, block_at(i, m), block_at(j, n));
    }
}

}  // namespace

const Kernel<Matmul> kMatmulConverted{"oneDNN sgemm on blocks converted to fp32", needs_cpu, run};

}  // namespace longspan::cpu
