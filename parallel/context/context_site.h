// ContextSite: where a plan will run, for planners that weigh one way against another.
#pragma once

#include <cstdint>

#include "kernels/ops/attention.h"

namespace longspan {

// What the parts of an attention layer cost. Rates are of one rank. The defaults are round figures of a GPU of 2023 in
// bf16 and its network; they decide between schemes only where these differ by far more than the figures are off.
struct ContextCosts {
  double flops_per_second = 400e12;        // of attention products, achieved
  double node_bytes_per_second = 200e9;    // between ranks of one node, one way
  double network_bytes_per_second = 40e9;  // between nodes, for each rank
  double seconds_per_message = 10e-6;
  double seconds_per_task = 2e-6;  // of one rectangle, whatever its size
};

struct ContextSite {
  int ranks = 1;
  int ranks_per_node = 0;  // consecutive ranks share a node; 0: all of them
  std::int64_t head_dim = 64, value_dim = 64;
  DType dtype = DType::kBF16;  // of q, k, v
  ContextCosts costs;

  // Ranks on one node, with all defaults: plans by number of ranks alone.
  ContextSite(int num_ranks) : ranks(num_ranks) {}
  ContextSite(int num_ranks, const AttentionDesc& desc)
      : ranks(num_ranks), head_dim(desc.head_dim), value_dim(desc.value_dim), dtype(desc.dtype) {}

  int node_size() const { return ranks_per_node > 0 && ranks_per_node < ranks ? ranks_per_node : ranks; }
  AttentionDesc desc() const { return {.dtype = dtype, .head_dim = head_dim, .value_dim = value_dim}; }
};

}  // namespace longspan
