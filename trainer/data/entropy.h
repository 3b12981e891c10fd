// Entropy of a corpus: what a model that knows only counts would reach, to hold a validation loss against.
#pragma once

#include <cstdint>

#include "trainer/data/token_file.h"

namespace longspan {

// Over tokens that have a predecessor in their document (those a model is asked for), in nats a token, from the counts
// of the file itself. With few tokens for many kinds of pairs the second is too low: its counts have learnt by heart.
struct CorpusEntropy {
  std::int64_t targets = 0;
  double unigram = 0;  // of a token by itself
  double bigram = 0;   // of a token given the one before
};

CorpusEntropy corpus_entropy(const TokenFile& file);

}  // namespace longspan
