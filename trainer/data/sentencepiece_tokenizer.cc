#include "trainer/data/sentencepiece_tokenizer.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>
#include <sstream>
#include <unordered_map>
#include <xxhash.h>

#include "kernels/core/error.h"
#include "trainer/io/utf8.h"

namespace longspan {
namespace {

namespace fs = std::filesystem;

// SentencePiece skips lines beyond 4192 bytes; longer ones are cut where a character begins.
constexpr std::size_t kLongestLine = 4000;

// The library's messages begin with the place in its source and the condition in brackets.
std::string reason_of(const sentencepiece::util::Status& status) {
  const std::string text = status.ToString();
  const std::size_t end = text.rfind("] ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string path, const std::string& model) : path_(std::move(path)) {
    hash_ = XXH3_64bits(model.data(), model.size());
    const auto status = processor_.LoadFromSerializedProto(model);
    LS_REQUIRE(kData, status.ok() && processor_.GetPieceSize() > 0,
               "{}: not a SentencePiece model; `longspan data train-tokenizer` writes one", path_);
  }
  std::string name() const override { return path_; }
  std::uint64_t hash() const override { return hash_; }
  std::int64_t vocab_size() const override { return processor_.GetPieceSize(); }
  std::int32_t begin_id() const override { return processor_.bos_id(); }
  std::int32_t end_id() const override { return processor_.eos_id(); }

  void encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    if (const auto offset = first_invalid_utf8(text)) {
      fail(ErrorKind::kData, "byte {} of the text is not UTF-8 (0x{:02x}); convert it, or use the tokenizer bytes",
           *offset, static_cast<unsigned char>(text[*offset]));
    }
    std::vector<int> pieces;
    const auto status = processor_.Encode({text.data(), text.size()}, &pieces);
    LS_REQUIRE(kData, status.ok(), "{}: cannot encode: {}", path_, reason_of(status));
    ids.insert(ids.end(), pieces.begin(), pieces.end());
  }
  std::string decode(const std::vector<std::int32_t>& ids) const override {
    for (const std::int32_t id : ids) {
      LS_REQUIRE(kData, id >= 0 && id < vocab_size(), "token {} is outside the {} pieces of {}", id, vocab_size(),
                 path_);
    }
    std::string text;
    const auto status = processor_.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
    LS_REQUIRE(kData, status.ok(), "{}: cannot decode: {}", path_, reason_of(status));
    return text;
  }

 private:
  std::string path_;
  std::uint64_t hash_ = 0;
  sentencepiece::SentencePieceProcessor processor_;
};

// Hands the lines to SentencePiece; an error of the reader is kept, since it may not pass through the library.
class LineIterator : public sentencepiece::SentenceIterator {
 public:
  explicit LineIterator(const std::function<bool(std::string&)>& next_line) : next_line_(next_line) { Next(); }
  bool done() const override { return done_; }
  const std::string& value() const override { return piece_; }
  sentencepiece::util::Status status() const override { return {}; }
  void Next() override {
    try {
      while (!done_ && at_ >= line_.size()) {
        at_ = 0;
        done_ = !next_line_(line_);
        any_ = any_ || (!done_ && !line_.empty());
      }
    } catch (...) {
      error_ = std::current_exception();
      done_ = true;
    }
    if (!done_) take_piece();
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }
  bool any() const { return any_; }

 private:
  void take_piece() {
    std::size_t end = std::min(line_.size(), at_ + kLongestLine);
    while (end < line_.size() && (static_cast<unsigned char>(line_[end]) & 0xC0) == 0x80) --end;
    piece_ = line_.substr(at_, end - at_);
    at_ = end;
  }
  const std::function<bool(std::string&)>& next_line_;
  std::string line_, piece_;
  std::size_t at_ = 0;
  bool done_ = false, any_ = false;
  std::exception_ptr error_;
};

void write_atomically(const std::string& path, const std::string& content) {
  const std::string partial = path + ".partial";
  errno = 0;
  std::ofstream file(partial, std::ios::binary);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  std::error_code fault;
  if (file) fs::rename(partial, path, fault);
  if (!file || fault) {
    const std::string reason = fault ? fault.message() : std::strerror(errno);
    fs::remove(partial, fault);
    fail(ErrorKind::kData, "{}: cannot write the model: {}", path, reason);
  }
}

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  LS_REQUIRE(kData, file && !fs::is_directory(path),
             "{}: cannot read the tokenizer: {}; give bytes or the path of a SentencePiece model", path,
             file ? "it is a folder" : std::strerror(errno));
  std::ostringstream model;
  model << file.rdbuf();
  return std::make_unique<SentencePieceTokenizer>(path, model.str());
}

void train_sentencepiece(const SentencePieceTraining& training, const std::function<bool(std::string&)>& next_line) {
  LineIterator lines(next_line);
  lines.rethrow();
  LS_REQUIRE(kData, !lines.done(), "no text to train a tokenizer on");
  // Text must come back as it went in: no normalisation, no blanks added or dropped, unknown characters as bytes.
  const std::unordered_map<std::string, std::string> options = {
      {"vocab_size", std::to_string(training.vocab)},
      {"model_type", training.algorithm},
      {"input_sentence_size", std::to_string(training.sampled_lines)},
      {"shuffle_input_sentence", "true"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "false"},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"num_threads", "1"},  // the result would depend on it
      {"minloglevel", "3"},
  };
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &lines, &model);
  lines.rethrow();
  LS_REQUIRE(kData, status.ok(), "cannot train a tokenizer of {} pieces: {}", training.vocab, reason_of(status));
  write_atomically(training.model_path, model);
}

}  // namespace longspan
