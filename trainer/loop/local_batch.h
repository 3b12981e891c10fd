// Packed sequences on their way to ranks: several joined into one micro-batch, then each rank's own tokens taken.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/model.h"
#include "parallel/context/context_plan.h"
#include "trainer/data/loader.h"

namespace longspan {

// One sequence after another; their documents stay apart.
PackedSequence join(std::span<const PackedSequence> sequences);

// A rank's share of a packed sequence, in the local order of its home. Owns the memory that batch() views.
class LocalBatch {
 public:
  LocalBatch(const PackedSequence& sequence, std::span<const TokenRun> home);
  MicroBatch batch();
  std::int64_t num_labels() const { return num_labels_; }  // local tokens that carry loss

 private:
  std::vector<std::int32_t> tokens_, labels_, positions_;
  std::int64_t num_labels_ = 0;
};

}  // namespace longspan
