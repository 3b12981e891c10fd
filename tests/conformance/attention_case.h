// Attention problems for the conformance suite: operands, a run of one implementation, the double-precision answer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/ops/attention.h"

namespace longspan::testing {

struct AttentionCase {
  std::string name;
  std::int64_t queries = 0, keys = 0;
  std::int64_t heads = 1, kv_heads = 1;
  std::int64_t head_dim = 16, value_dim = 16;
  DType dtype = DType::kF32;
  float scale = 0;  // 0: 1 / sqrt(head_dim)
  SoftmaxOrigin origin = SoftmaxOrigin::kMaximum;
  double spread = 1;  // standard deviation of queries; large: one key wins
  bool sink = false;
  int threads = 2;
  std::int64_t row_gap = 0;  // elements between rows of q, k, v, dout beyond the heads
  std::vector<AttentionTask> tasks = {};

  AttentionDesc desc() const;
};

// What a run leaves behind; also the answer of the reference. Row-major; gradients start from 0.
struct AttentionOutcome {
  std::vector<double> out, lse, dq, dk, dv, dsink;
};

// Operands of a case as doubles, each exactly a value of the case's dtype. The same case gives the same operands.
struct AttentionOperands {
  explicit AttentionOperands(const AttentionCase& test);
  std::vector<double> q, k, v, dout, sink;
};

// Forward, finish, begin, backward. Tasks are given in `calls` calls, one after the other.
AttentionOutcome run_attention(const AttentionOp& op, const AttentionCase& test, const AttentionOperands& operands,
                               std::int64_t calls = 1);

AttentionOutcome exact_attention(const AttentionCase& test, const AttentionOperands& operands);

// Every score, probability and result rounded to bf16 between the products, nothing blocked.
AttentionOutcome plain_bf16_attention(const AttentionCase& test, const AttentionOperands& operands);

// ||x - expected|| / ||expected|| over finite places, the plain norm if expected is 0; infinity if NaN or infinity
// stand in different places.
double relative_error(const std::vector<double>& x, const std::vector<double>& expected);

}  // namespace longspan::testing
