// BalanceReport: how even the work of a config's steps is, as documents are packed and as data.packing balanced places
// them.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/config/config.h"
#include "trainer/loop/parallel_layout.h"
#include "trainer/loop/step_documents.h"

namespace longspan {

// Work of the busiest over the mean, 1 where all have as much.
struct BusiestOverMean {
  double mean = 0, worst = 0;  // over the steps
};

struct WorkBalance {
  BusiestOverMean attention, total;
};

// Of a step's data ranks, or of all its micro-batches.
struct PlacementBalance {
  WorkBalance packed, placed;
  WorkBalance least;  // no placement of whole documents is below this, however many tokens a micro-batch may have
};

struct BalanceReport {
  std::int64_t steps = 0;
  std::int64_t kept = 0;       // steps whose documents found no room anew
  double attention_share = 0;  // of all work
  PlacementBalance data_ranks, micro_batches;
  // Tokens of the longest micro-batch of all steps, and what it may have.
  std::int64_t packed_tokens = 0, placed_tokens = 0, most_tokens = 0;
  double step_work = 0;        // time of the steps as placed over that as packed, where time goes as work
  double placing_seconds = 0;  // of one step, mean
};

// Of the first `steps` steps with this layout's micro-batches, whatever data.packing is.
BalanceReport report_balance(const SequenceLengths& lengths, const Config& config, const ParallelLayout& layout,
                             std::int64_t steps);

// Lines of text.
std::string describe(const BalanceReport& report);

}  // namespace longspan
