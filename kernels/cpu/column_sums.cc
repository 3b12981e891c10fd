#include "kernels/cpu/column_sums.h"

#include "kernels/cpu/parallel.h"

namespace longspan::cpu {
namespace {

constexpr std::int64_t kMaxBlocks = 64;  // more threads than this find no work here
constexpr std::int64_t kMinRows = 16;    // fewer rows are not worth a block

}  // namespace

void add_column_sums(const Exec& exec, std::int64_t rows, const Tensor& out,
                     const std::function<void(float*, std::int64_t, std::int64_t)>& add_rows) {
  const std::int64_t width = out.numel();
  if (rows == 0 || width == 0) return;
  LS_CHECK(exec.workspace, "a sum of {} rows of {} needs a workspace", rows, width);
  Arena::Scope scope(*exec.workspace);
  const Blocks blocks{rows, std::max(kMinRows, (rows + kMaxBlocks - 1) / kMaxBlocks)};
  const Tensor partials =
      exec.workspace->allocate_zeroed("column sums", MemoryCategory::kWorkspace, DType::kF32, {blocks.num(), width});
  parallel_for(exec, blocks, [&](std::int64_t b, std::int64_t begin, std::int64_t end) {
    add_rows(partials.get<float>() + b * width, begin, end);
  });
  parallel_for(exec, {width, kGrainElements / kMaxBlocks}, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    float* LS_RESTRICT sum = out.get<float>();
    for (std::int64_t b = 0; b < blocks.num(); ++b) {
      const float* LS_RESTRICT partial = partials.get<float>() + b * width;
      for (std::int64_t e = begin; e < end; ++e) sum[e] += partial[e];
    }
  });
}

}  // namespace longspan::cpu
