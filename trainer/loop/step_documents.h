// StepDocuments: the documents of a step and the micro-batch that each goes to, from their lengths alone.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/data/arrangement.h"
#include "trainer/data/loader.h"
#include "trainer/loop/parallel_layout.h"

namespace longspan {

// Floating-point operations of training on one document, forward and backward.
class DocumentWork {
 public:
  explicit DocumentWork(const ModelConfig& model);
  // Over the visible pairs of all layers, each by its mask.
  double attention(std::int64_t length) const;
  double total(std::int64_t length) const { return per_token_ * static_cast<double>(length) + attention(length); }

 private:
  ModelConfig model_;
  double per_token_;
};

enum class DocumentPlacement : std::uint8_t {
  kAsPacked,  // each sequence as it is, sequences in turn
  kByWork     // data.packing balanced: arranged anew over all data ranks (arrange_documents)
};

// Which sequences a step trains on, and how they are shared: a data rank's are its micro-batches one after another.
struct StepSequences {
  std::int64_t first = 0;  // as the loader counts; of all data ranks
  std::int64_t data_rank = 0;
  std::int64_t data_ranks = 1;
  std::int64_t micro_batches = 1;   // of each data rank
  std::int64_t sequences_each = 1;  // a micro-batch, as packed
  std::int64_t stages = 1;          // of the pipeline
  DocumentPlacement placement = DocumentPlacement::kAsPacked;
  std::int64_t most_tokens = 0;  // of a micro-batch
  bool operator==(const StepSequences&) const = default;
};

// A step's from sequence 0 on, of data rank 0. As packed where there is but one micro-batch.
StepSequences sequences_of(const DataConfig& data, const ParallelLayout& layout);
ArrangementShape shape_of(const StepSequences& sequences);

struct StepDocuments {
  struct Document {
    std::int64_t sequence;  // as the loader counts
    std::int64_t place;     // in it
    std::int64_t length;
    std::int64_t micro_batch;  // data rank by data rank: data_rank * micro_batches + the number within it
  };
  std::vector<Document> documents;  // as the loader brings them
  std::string why_kept;             // see Arrangement; empty where placed as packed
  std::uint64_t hash = 0;           // of all of it: equal on every rank of the world
};

// Lengths of the documents of the sequence with this index, in order.
using SequenceLengths = std::function<std::vector<std::int64_t>(std::int64_t index)>;

// Pure functions of what they are given. That of a loader reads no tokens.
StepDocuments documents_of_step(const SequenceLengths& lengths, const DocumentWork& work,
                                const StepSequences& sequences);
StepDocuments documents_of_step(const Loader& loader, const DocumentWork& work, const StepSequences& sequences);

// The documents of one micro-batch, each whole, in the order in which the loader brings them.
PackedSequence read_micro_batch(const Loader& loader, const StepDocuments& step, std::int64_t micro_batch);

}  // namespace longspan
