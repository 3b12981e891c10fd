// SequenceSource: packed sequences out of one source, any of them by number.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "trainer/data/epochs.h"
#include "trainer/data/loader.h"
#include "trainer/data/token_file.h"

namespace longspan {

// Const members may be called from several threads.
class SequenceSource {
 public:
  virtual ~SequenceSource() = default;
  // As of Loader.
  PackedSequence at(std::int64_t index) const;
  virtual std::vector<std::int64_t> lengths_of(std::int64_t index) const = 0;
  virtual PackedSequence documents_of(std::int64_t index, std::span<const std::int64_t> places) const = 0;
  virtual std::int64_t sequences_per_epoch() const = 0;
  virtual std::int64_t num_tokens() const = 0;  // 0: made on the fly
  virtual std::string describe() const = 0;
  virtual std::uint64_t fingerprint() const = 0;
};

// Each epoch lays all documents end to end, in an order of its own, epoch after epoch without a gap, and cuts every
// sequence_length tokens: every token is met once an epoch and every sequence is full.
std::unique_ptr<SequenceSource> make_concat_source(std::shared_ptr<const TokenFile> file, const SourceOptions& options);

// Whole documents share a sequence as long as they fit, see DocumentPacking. Sequences may be shorter.
std::unique_ptr<SequenceSource> make_documents_source(std::shared_ptr<const TokenFile> file,
                                                      const SourceOptions& options);

std::unique_ptr<SequenceSource> make_passkey_source(std::int64_t sequence_length, std::uint64_t seed);

}  // namespace longspan
