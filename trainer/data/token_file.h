// Token files: the tokens of a corpus and where its documents begin, in HDF5.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "trainer/data/tokenizer.h"
#include "trainer/io/hdf5_file.h"

namespace longspan {

// Format (docs/formats.md): /tokens [n] uint16 or int32, /documents [d+1] int64 offsets into it, 0 … n; attributes
// format, version, tokenizer, tokenizer_hash, vocab, content_hash.

// Writes beside the file that is asked for and renames in finish(); without finish() nothing is left behind.
class TokenFileWriter {
 public:
  TokenFileWriter(std::string path, const Tokenizer& tokenizer);
  ~TokenFileWriter();
  TokenFileWriter(TokenFileWriter&&) noexcept;
  // Appends one document of tokens, all of the tokenizer's vocabulary. Memory stays bounded.
  void add_document(std::span<const std::int32_t> tokens);
  // Throws Error(kData) where the disk is full.
  void finish();
  std::int64_t num_documents() const;
  std::int64_t num_tokens() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Const members may be called from several threads.
class TokenFile {
 public:
  // Checks all that does not need every token: format, version, sizes, offsets. Throws Error(kData) naming the file.
  explicit TokenFile(const std::string& path);
  const std::string& path() const { return file_.path(); }
  std::int64_t num_documents() const { return static_cast<std::int64_t>(offsets_.size()) - 1; }
  std::int64_t num_tokens() const { return offsets_.back(); }
  std::int64_t vocab() const { return vocab_; }
  const std::string& tokenizer_name() const { return tokenizer_name_; }
  std::uint64_t tokenizer_hash() const { return tokenizer_hash_; }
  std::uint64_t content_hash() const { return content_hash_; }  // of tokens and offsets, as the writer noted it
  std::int64_t document_begin(std::int64_t document) const { return offsets_[static_cast<std::size_t>(document)]; }
  std::int64_t document_length(std::int64_t document) const {
    return document_begin(document + 1) - document_begin(document);
  }
  // Tokens from `first` on, as many as the span holds. Throws Error(kData) on one outside the vocabulary.
  void read(std::int64_t first, std::span<std::int32_t> tokens) const;
  // Reads everything and compares with content_hash(). Throws Error(kData) where the file was altered.
  void verify() const;

 private:
  void read_offsets();
  Hdf5File file_;
  std::string tokenizer_name_;
  std::uint64_t tokenizer_hash_ = 0, content_hash_ = 0;
  std::int64_t vocab_ = 0;
  std::vector<std::int64_t> offsets_;
};

}  // namespace longspan
