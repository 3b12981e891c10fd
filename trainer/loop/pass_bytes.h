// PassBytes: what the passes of a rank's micro-batches through its stages take, known before any runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/core/tensor.h"
#include "trainer/loop/parallel_layout.h"

namespace longspan {

// Bytes of each kind.
struct PassBytes {
  // Arenas that passes take turns in: one pool for all chunks of the rank, or one for each, whichever is less.
  struct Pool {
    int passes = 0;         // that may be alive at once
    std::int64_t kept = 0;  // by the largest of them from its forward to the end of its backward
  };
  std::vector<Pool> pools;
  std::vector<int> pool_of;    // [chunk]
  std::int64_t transient = 0;  // within one operation
  std::int64_t workspace = 0;  // of operators and of the core attention
  int hand_overs = 0;
  std::int64_t hand_over = 0;  // each
};
std::int64_t total_kept(std::span<const PassBytes::Pool> pools);  // by all passes that may be alive

// Of a rank at this place of the pipeline whose largest micro-batch has so many tokens. workspace is the caller's to
// add: it depends on the attention's plans.
PassBytes pass_bytes(const Config& config, const ParallelLayout& layout, int pipeline_rank, std::int64_t tokens,
                     Device device);

}  // namespace longspan
