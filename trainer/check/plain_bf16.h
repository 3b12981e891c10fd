// A plain, unblocked bfloat16 evaluation of softmax attention: how far bfloat16 itself strays, the yardstick of
// verdicts.
#pragma once

#include <vector>

#include "trainer/check/case_file.h"

namespace longspan {

struct AttentionResult {
  std::vector<float> out, lse;  // lse with the sink in it
  std::vector<float> dq, dk, dv, dsink;
};

// Whole matrices of scores, probabilities and their gradients, each rounded to bfloat16 as it is stored; sums run in
// fp32, and so do the statistics lse and delta. Results are rounded to bfloat16 but for lse and dsink.
AttentionResult plain_bf16_attention(const AttentionCase& c);

}  // namespace longspan
