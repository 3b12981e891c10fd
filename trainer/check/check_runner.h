// Runs core attention on a golden case, sharded over the ranks of a communicator, and judges the result.
#pragma once

#include <string>
#include <vector>

#include "kernels/core/dtype.h"
#include "parallel/comm/communicator.h"
#include "trainer/check/case_file.h"
#include "trainer/check/plain_bf16.h"
#include "trainer/check/verdict.h"
#include "trainer/launch/rank_device.h"

namespace longspan {

struct CheckOptions {
  std::string scheme = "striped";  // of the plan, as in parallel.context_scheme
  DType precision = DType::kF32;   // of q, k, v, dout and of out, dq, dk, dv: fp32 or bf16
  int num_threads = 1;
};

// What the ranks compute together, whole and in global token order on every rank. Collective.
AttentionResult run_attention_case(Communicator& comm, const RankDevice& device, const AttentionCase& c,
                                   const CheckOptions& options);

// fp32: 1e-5 forward, 3e-5 gradients. bf16: twice the error of a plain bf16 evaluation, and never above 2e-2.
std::vector<TensorVerdict> judge(const AttentionCase& c, DType precision, const AttentionResult& result);

}  // namespace longspan
