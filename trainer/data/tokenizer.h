// Tokenizer: text to token ids and back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace longspan {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;    // "bytes", or the SentencePiece model's path
  virtual std::uint64_t hash() const = 0;  // of its definition; token files carry it
  virtual std::int64_t vocab_size() const = 0;
  virtual std::int32_t begin_id() const = 0;  // -1: none
  virtual std::int32_t end_id() const = 0;    // of a document; -1: none
  // Appends the ids of text, without begin or end. Throws Error(kData) on text it cannot represent.
  virtual void encode(std::string_view text, std::vector<std::int32_t>& ids) const = 0;
  virtual std::string decode(const std::vector<std::int32_t>& ids) const = 0;
};

// "bytes" (256 byte values, 256 = begin, 257 = end, 258 = pad) or the path of a SentencePiece model.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& spec);

}  // namespace longspan
