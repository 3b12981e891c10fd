// SentencePiece models: loaded as tokenizers, and trained.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "trainer/data/tokenizer.h"

namespace longspan {

// Throws Error(kData) where the file is missing or no SentencePiece model.
std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(const std::string& path);

struct SentencePieceTraining {
  std::string model_path;         // what is written; replaced only once training is done
  std::int64_t vocab = 8000;      // pieces, byte fallback and control symbols included
  std::string algorithm = "bpe";  // bpe | unigram
  std::int64_t sampled_lines = 200000;
};

// Trains on lines: next_line puts one into its argument and returns false after the last. Lines are sampled, so memory
// stays bounded. The model splits what it never saw into bytes, so that it can write any text.
// Throws Error(kData) where the text is too small for the vocabulary, or the model cannot be written.
void train_sentencepiece(const SentencePieceTraining& training, const std::function<bool(std::string&)>& next_line);

}  // namespace longspan
