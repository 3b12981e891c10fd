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

void for_each_span(const Exec& exec, std::int64_t rows, std::int64_t width,
                   const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& body) {
  const Blocks columns{width, kGrainElements};
  const Blocks spans = blocks_of_rows(rows * columns.num(), std::min(width, kGrainElements));
  parallel_for(exec, spans, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s) {
      const std::int64_t piece = s % columns.num();
      body(s / columns.num(), columns.begin(piece), columns.end(piece));
    }
  });
}

}  // namespace longspan::cpu
