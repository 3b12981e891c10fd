// DocumentPacking: which pieces of documents share a sequence, from the documents' lengths alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/data/epochs.h"

namespace longspan {

// Tokens [begin, begin + length) of a document.
struct DocumentPiece {
  std::int64_t document, begin, length;
};

// Whole documents share a sequence as long as they fit (best fit, longest first); those longer than a sequence are cut.
// Packed once; each epoch brings the packed sequences in an order of its own. Const members may be called from several
// threads.
class DocumentPacking {
 public:
  // Empty documents are left out.
  DocumentPacking(std::span<const std::int64_t> lengths, const SourceOptions& options);
  std::int64_t sequences_per_epoch() const { return static_cast<std::int64_t>(sequence_begins_.size()) - 1; }
  // Of sequence `index`, counted over all epochs. There must be a token at all.
  std::span<const DocumentPiece> pieces_of(std::int64_t index) const;

 private:
  void pack(std::vector<DocumentPiece> pieces);

  SourceOptions options_;
  std::vector<DocumentPiece> pieces_;          // one packed sequence after another
  std::vector<std::int64_t> sequence_begins_;  // into pieces_
  EpochCache<std::vector<std::int64_t>> epochs_;
};

}  // namespace longspan
