// PassBytes: what the passes of a rank's micro-batches through its stages take, known before any runs.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/core/tensor.h"
#include "trainer/loop/parallel_layout.h"

namespace longspan {

// Bytes of each kind.
struct PassBytes {
  struct Chunk {
    int passes = 0;         // that may be alive at once
    std::int64_t kept = 0;  // by each from its forward to the end of its backward
  };
  std::vector<Chunk> chunks;
  std::int64_t transient = 0;  // within one operation
  std::int64_t workspace = 0;  // of operators and of the core attention
  int hand_overs = 0;
  std::int64_t hand_over = 0;  // each
};
std::int64_t total_kept(const PassBytes& bytes);  // by all passes that may be alive

// Of a rank at this place of the pipeline whose largest micro-batch has so many tokens. workspace is the caller's to
// add: it depends on the attention's plans.
PassBytes pass_bytes(const Config& config, const ParallelLayout& layout, int pipeline_rank, std::int64_t tokens,
                     Device device);

// Sequences that the busiest data rank validates with.
std::int64_t validation_sequences_each(const Config& config, const ParallelLayout& layout);

}  // namespace longspan
