// Times core attention of this build beside the matrix product it is made of, in one run.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/ops/attention.h"

namespace longspan {

// Causal self-attention of one document. Threads are those an operator may use.
struct AttentionBenchOptions {
  std::int64_t heads = 8, kv_heads = 8;
  std::int64_t head_dim = 64, value_dim = 64;
  std::vector<std::int64_t> tokens = {4096};
  DType dtype = DType::kF32;
  int threads = 1;
  int repetitions = 5;  // after one that is not timed
};

// Rates count 2 (D + Dv) operations a visible pair and head forward, 2 (3 D + 2 Dv) backward: the products that the
// formulas need, not what an implementation recomputes beyond them, nor the exponentials.
struct AttentionBenchRow {
  AttentionBenchOptions options;
  std::int64_t tokens = 0;
  double forward_ms = 0, backward_ms = 0;            // median
  double best_forward_ms = 0, best_backward_ms = 0;  // least of all repetitions: steadier on a shared machine
  double forward_gflops = 0, backward_gflops = 0;    // from the median
  double best_forward_gflops = 0, best_backward_gflops = 0;
  double matmul_gflops = 0;  // median of fp32 products of 1024 x 1024 x 1024 run between the repetitions
  double best_matmul_gflops = 0;
  std::int64_t peak_bytes = 0;  // operands, results and scratch together
};

// One row for each length, handed to `on_row` as soon as it is known.
void bench_attention(const AttentionBenchOptions& options, const std::function<void(const AttentionBenchRow&)>& on_row);

}  // namespace longspan
