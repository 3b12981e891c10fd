// Loader: the packed sequences of each step, the same on every rank, resumable from two numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "trainer/config/config.h"

namespace longspan {

// One packed sequence, whole (every rank reads it, then takes its own tokens). Document pieces restart positions.
struct PackedSequence {
  std::vector<std::int32_t> tokens;      // [sequence_length] (shorter only where documents packing leaves a rest)
  std::vector<std::int32_t> labels;      // the next token of the same document, even beyond this sequence; -1: none
  std::vector<std::int64_t> cu_seqlens;  // 0 … tokens.size()
};

// Sequence `index` of training is a pure function of (data config, seed, index): shuffled anew each epoch of each
// source, sources drawn by weight. So the cursor of a run is the number of sequences it has consumed.
class Loader {
 public:
  virtual ~Loader() = default;
  virtual PackedSequence at(std::int64_t index) const = 0;
  // Lengths of that sequence's documents, in order; their tokens are not read.
  virtual std::vector<std::int64_t> lengths_of(std::int64_t index) const = 0;
  // That sequence with some of its documents alone, by their places in it and in this order. Reads no others.
  virtual PackedSequence documents_of(std::int64_t index, std::span<const std::int64_t> places) const = 0;
  virtual std::int64_t sequences_per_epoch() const = 0;  // of the whole mixture; informative
  virtual std::string describe() const = 0;              // sources, documents, tokens, epochs' length
  virtual std::uint64_t fingerprint() const = 0;         // of the data and its order; a resumed run compares it
};

// Opens and checks the files. Throws Error(kData) naming the file. Validation loaders are not shuffled.
std::unique_ptr<Loader> make_training_loader(const DataConfig& data, std::int64_t vocab, std::uint64_t seed);
std::unique_ptr<Loader> make_validation_loader(const DataConfig& data, std::int64_t vocab);

}  // namespace longspan
