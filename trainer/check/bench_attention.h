// Times core attention of this build beside the matrix product it is made of, in one run.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/ops/attention.h"

namespace longspan {

// How the lengths of documents packed into one sequence differ: not at all, or from few tokens to many times the mean.
enum class DocumentSpread : std::uint8_t { kEqual, kMixed };

// Causal self-attention of `documents` documents packed into one sequence. Threads are those an operator may use.
struct AttentionBenchOptions {
  DeviceRuntime* runtime = &host_runtime();
  std::string op;  // name of the implementation; empty: the first that takes the problem
  std::int64_t heads = 8, kv_heads = 8;
  std::int64_t head_dim = 64, value_dim = 64;
  std::vector<std::int64_t> tokens = {4096};
  std::int64_t documents = 1;
  DocumentSpread spread = DocumentSpread::kEqual;
  DType dtype = DType::kF32;
  int threads = 1;
  int repetitions = 5;           // after one that is not timed
  std::int64_t matrix_size = 0;  // of the square products; 0: 1024 on the host, 8192 on a GPU
};

// Rates count 2 (D + Dv) operations a visible pair and head forward, 2 (3 D + 2 Dv) backward: the products that the
// formulas need, not what an implementation recomputes beyond them, nor the exponentials.
struct AttentionBenchRow {
  AttentionBenchOptions options;
  std::string op;
  std::int64_t tokens = 0;
  std::int64_t pairs = 0;                            // visible ones, of one head
  double forward_ms = 0, backward_ms = 0;            // median
  double best_forward_ms = 0, best_backward_ms = 0;  // least of all repetitions: steadier on a shared machine
  double forward_gflops = 0, backward_gflops = 0;    // from the median
  double best_forward_gflops = 0, best_backward_gflops = 0;
  // Of these the operator itself, without what starts and ends its carry.
  double op_forward_ms = 0, op_backward_ms = 0;
  double matmul_gflops =
      0;  // median of square products run between the repetitions: fp32, on GPUs of the operands' type
  double best_matmul_gflops = 0;
  std::int64_t peak_bytes = 0;  // operands, results and scratch together
};

// Lengths of the documents that make up that many tokens, the same on every run; each at least 1.
std::vector<std::int64_t> document_lengths(std::int64_t tokens, std::int64_t documents, DocumentSpread spread);

// One row for each length, handed to `on_row` as soon as it is known.
void bench_attention(const AttentionBenchOptions& options, const std::function<void(const AttentionBenchRow&)>& on_row);

}  // namespace longspan
