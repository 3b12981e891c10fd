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
  MicroBatch batch();  // in host memory
  std::int64_t num_tokens() const { return static_cast<std::int64_t>(tokens_.size()); }
  std::int64_t num_labels() const { return num_labels_; }  // local tokens that carry loss

  // What upload() takes from its arena for so many tokens.
  static std::int64_t device_bytes(std::int64_t tokens);

 private:
  std::vector<std::int32_t> tokens_, labels_, positions_;
  std::int64_t num_labels_ = 0;
};

// Copies of the batch's tensors in `arena`, there for what exec.stream is given afterwards; the caller goes on. On the
// host the batch itself.
MicroBatch upload(const Exec& exec, LocalBatch& local, Arena& arena);

}  // namespace longspan
