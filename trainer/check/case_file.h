// Golden cases: one HDF5 file with the inputs of core attention and what an independent float64 oracle expects of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model_config.h"
#include "parallel/context/context_plan.h"

namespace longspan {

// Tensors are whole (all tokens of all documents, in global order), row-major.
struct AttentionCase {
  std::string path;
  AttentionKind kind;      // what the file's `config` says
  ContextProblem problem;  // documents, heads, mask
  std::int64_t head_dim = 0, value_dim = 0;
  float scale = 0;

  std::vector<float> q;     // [T,H,D]
  std::vector<float> k, v;  // [T,Hkv,D], [T,Hkv,Dv]
  std::vector<float> dout;  // [T,H,Dv]
  std::vector<float> sink;  // [H]; empty: none

  std::vector<double> out;         // [T,H,Dv]
  std::vector<double> lse;         // [T,H], the sink not counted; -inf where a query sees no key
  std::vector<double> dq, dk, dv;  // like q, k, v
  std::vector<double> dsink;       // like sink
};

// Throws Error(kData) naming the file and what is wrong with it, Error(kUnsupported) for an operator that is not built.
AttentionCase read_attention_case(const std::string& path);

}  // namespace longspan
