// Parallel loops of the CPU kernels: blocks fixed by the problem, never by the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "kernels/core/exec.h"

namespace longspan::cpu {

// Work of about this many elements is worth a thread's while.
inline constexpr std::int64_t kGrainElements = 16384;

// Blocks of [0, count), all of `block` items but the last. Results do not depend on the number of threads as long as
// a body writes only what belongs to its block.
struct Blocks {
  std::int64_t count = 0;
  std::int64_t block = 1;
  std::int64_t num() const { return (count + block - 1) / block; }
  std::int64_t begin(std::int64_t b) const { return b * block; }
  std::int64_t end(std::int64_t b) const { return std::min(count, (b + 1) * block); }
};

// Blocks of rows of `row_elements` each, about kGrainElements a block.
Blocks blocks_of_rows(std::int64_t rows, std::int64_t row_elements);

// body(block number, begin, end) for every block, on up to exec.num_threads threads. The body must not throw.
void parallel_for(const Exec& exec, const Blocks& blocks,
                  const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& body);

// body(row, begin, end) for the columns begin … end-1 of every row, wide rows cut in pieces: for work without sums.
void for_each_span(const Exec& exec, std::int64_t rows, std::int64_t width,
                   const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& body);

}  // namespace longspan::cpu
