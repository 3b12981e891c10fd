#include "trainer/data/tokenizer.h"

#include <xxhash.h>

#include "kernels/core/error.h"
#include "trainer/data/sentencepiece_tokenizer.h"

namespace longspan {
namespace {

// Every byte is a token, so every text, in any language or none, goes to tokens and back unchanged.
class ByteTokenizer : public Tokenizer {
 public:
  std::string name() const override { return "bytes"; }
  std::uint64_t hash() const override { return XXH3_64bits("longspan bytes 1", 16); }
  std::int64_t vocab_size() const override { return 259; }
  std::int32_t begin_id() const override { return 256; }
  std::int32_t end_id() const override { return 257; }

  void encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    ids.reserve(ids.size() + text.size());
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  }
  std::string decode(const std::vector<std::int32_t>& ids) const override {
    std::string text;
    text.reserve(ids.size());
    for (const std::int32_t id : ids) {
      LS_REQUIRE(kData, id >= 0 && id < vocab_size(), "token {} is outside the {} tokens of bytes", id, vocab_size());
      if (id < 256) text.push_back(static_cast<char>(id));  // begin, end and padding have no text
    }
    return text;
  }
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& spec) {
  if (spec == "bytes") return std::make_unique<ByteTokenizer>();
  return load_sentencepiece_tokenizer(spec);
}

}  // namespace longspan
