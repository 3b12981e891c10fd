#include "kernels/cpu/parallel.h"

namespace longspan::cpu {

Blocks blocks_of_rows(std::int64_t rows, std::int64_t row_elements) {
  return {rows, std::max<std::int64_t>(1, kGrainElements / std::max<std::int64_t>(1, row_elements))};
}

void parallel_for(const Exec& exec, const Blocks& blocks,
                  const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& body) {
  const std::int64_t num = blocks.num();
  const int threads = static_cast<int>(std::min<std::int64_t>(exec.num_threads, num));
  if (threads <= 1) {  // a team of one still costs a call into the run-time
    for (std::int64_t b = 0; b < num; ++b) body(b, blocks.begin(b), blocks.end(b));
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::int64_t b = 0; b < num; ++b) body(b, blocks.begin(b), blocks.end(b));
}

}  // namespace longspan::cpu
