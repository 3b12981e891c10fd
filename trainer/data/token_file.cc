#include "trainer/data/token_file.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>
#include <xxhash.h>

#include "kernels/core/error.h"

namespace longspan {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "longspan-tokens";
constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kChunkElements = 1 << 14;   // small: loaders read documents in any order
constexpr std::int64_t kBufferElements = 1 << 18;  // of the writer
constexpr std::int64_t kVerifyElements = 1 << 20;

// Of all tokens as int32, and of all offsets, in their order; how they were cut into pieces does not matter.
class ContentHash {
 public:
  ContentHash() : tokens_(XXH3_createState(), XXH3_freeState), offsets_(XXH3_createState(), XXH3_freeState) {
    XXH3_64bits_reset(tokens_.get());
    XXH3_64bits_reset(offsets_.get());
  }
  void add_tokens(std::span<const std::int32_t> tokens) {
    XXH3_64bits_update(tokens_.get(), tokens.data(), tokens.size_bytes());
  }
  void add_offsets(std::span<const std::int64_t> offsets) {
    XXH3_64bits_update(offsets_.get(), offsets.data(), offsets.size_bytes());
  }
  std::uint64_t value() const {
    return XXH3_64bits_digest(tokens_.get()) ^ std::rotl(XXH3_64bits_digest(offsets_.get()), 1);
  }

 private:
  using State = std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)>;
  State tokens_, offsets_;
};

// What was written reaches the disk before the file takes its name.
void sync_to_disk(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int fault = errno;
  if (descriptor >= 0) ::close(descriptor);
  LS_REQUIRE(kData, synced, "{}: cannot write to the disk: {}", path, std::strerror(fault));
}

}  // namespace

struct TokenFileWriter::Impl {
  std::string path, partial;
  std::int64_t vocab = 0;
  Hdf5File file;
  std::vector<std::int32_t> tokens;   // not written yet
  std::vector<std::int64_t> offsets;  // not written yet
  std::int64_t num_tokens = 0, num_documents = 0;
  ContentHash hash;
  bool finished = false;

  Impl(std::string final_path, const Tokenizer& tokenizer)
      : path(std::move(final_path)),
        partial(path + ".partial"),
        vocab(tokenizer.vocab_size()),
        file(Hdf5File::create(partial)) {
    file.set_attribute("format", kFormat);
    file.set_attribute("version", kVersion);
    file.set_attribute("tokenizer", tokenizer.name());
    file.set_attribute("tokenizer_hash", std::bit_cast<std::int64_t>(tokenizer.hash()));
    file.set_attribute("vocab", vocab);
    file.create_growing_dataset("tokens", vocab <= 65536 ? Hdf5Type::kUint16 : Hdf5Type::kInt32, kChunkElements);
    file.create_growing_dataset("documents", Hdf5Type::kInt64, kChunkElements);
    offsets.push_back(0);
  }
  void flush() {
    hash.add_tokens(tokens);
    hash.add_offsets(offsets);
    file.append<std::int32_t>("tokens", tokens);
    file.append<std::int64_t>("documents", offsets);
    tokens.clear();
    offsets.clear();
  }
};

TokenFileWriter::TokenFileWriter(std::string path, const Tokenizer& tokenizer)
    : impl_(std::make_unique<Impl>(std::move(path), tokenizer)) {}
TokenFileWriter::TokenFileWriter(TokenFileWriter&&) noexcept = default;

TokenFileWriter::~TokenFileWriter() {
  if (!impl_ || impl_->finished) return;
  const std::string partial = impl_->partial;
  impl_.reset();
  std::error_code ignored;
  fs::remove(partial, ignored);
}

void TokenFileWriter::add_document(std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) {
    LS_CHECK(token >= 0 && token < impl_->vocab, "token {} outside the vocabulary of {}", token, impl_->vocab);
  }
  impl_->tokens.insert(impl_->tokens.end(), tokens.begin(), tokens.end());
  impl_->num_tokens += static_cast<std::int64_t>(tokens.size());
  impl_->num_documents += 1;
  impl_->offsets.push_back(impl_->num_tokens);
  if (static_cast<std::int64_t>(impl_->tokens.size() + impl_->offsets.size()) >= kBufferElements) impl_->flush();
}

void TokenFileWriter::finish() {
  LS_REQUIRE(kData, impl_->num_tokens > 0, "{}: not written: the input holds no text", impl_->path);
  impl_->flush();
  impl_->file.set_attribute("content_hash", std::bit_cast<std::int64_t>(impl_->hash.value()));
  impl_->file.close();
  sync_to_disk(impl_->partial);
  std::error_code fault;
  fs::rename(impl_->partial, impl_->path, fault);
  LS_REQUIRE(kData, !fault, "{}: cannot rename {} to it: {}", impl_->path, impl_->partial, fault.message());
  impl_->finished = true;
}

std::int64_t TokenFileWriter::num_documents() const {
  return impl_->num_documents;
}
std::int64_t TokenFileWriter::num_tokens() const {
  return impl_->num_tokens;
}

TokenFile::TokenFile(const std::string& path) : file_(Hdf5File::open(path)) {
  const std::string format = file_.has_attribute("format") ? file_.string_attribute("format") : "";
  LS_REQUIRE(kData, format == kFormat,
             "{}: not a token file (format '{}', not '{}'); `longspan data tokenize` writes one", path, format,
             kFormat);
  const std::int64_t version = file_.int64_attribute("version");
  LS_REQUIRE(kData, version == kVersion, "{}: token file of version {}; this program reads version {}", path, version,
             kVersion);
  tokenizer_name_ = file_.string_attribute("tokenizer");
  tokenizer_hash_ = std::bit_cast<std::uint64_t>(file_.int64_attribute("tokenizer_hash"));
  content_hash_ = std::bit_cast<std::uint64_t>(file_.int64_attribute("content_hash"));
  vocab_ = file_.int64_attribute("vocab");
  LS_REQUIRE(kData, vocab_ >= 1, "{}: attribute 'vocab' is {}", path, vocab_);
  read_offsets();
}

void TokenFile::read_offsets() {
  const Hdf5Dataset tokens = file_.dataset("tokens"), documents = file_.dataset("documents");
  LS_REQUIRE(kData, tokens.shape.size() == 1 && (tokens.type == Hdf5Type::kUint16 || tokens.type == Hdf5Type::kInt32),
             "{}: tokens: not a list of uint16 or int32", path());
  LS_REQUIRE(kData, documents.shape.size() == 1 && documents.type == Hdf5Type::kInt64,
             "{}: documents: not a list of int64", path());
  LS_REQUIRE(kData, documents.shape[0] >= 2 && tokens.shape[0] >= 1, "{}: holds no tokens", path());
  offsets_.resize(static_cast<std::size_t>(documents.shape[0]));
  file_.read<std::int64_t>("documents", std::span(offsets_));
  LS_REQUIRE(kData, offsets_.front() == 0, "{}: documents: begins at {}, not at 0", path(), offsets_.front());
  for (std::size_t i = 1; i < offsets_.size(); ++i) {
    LS_REQUIRE(kData, offsets_[i] >= offsets_[i - 1], "{}: documents: offset {} is {}, below the one before it, {}",
               path(), i, offsets_[i], offsets_[i - 1]);
  }
  LS_REQUIRE(kData, offsets_.back() == tokens.shape[0], "{}: documents: ends at {}, but there are {} tokens", path(),
             offsets_.back(), tokens.shape[0]);
}

void TokenFile::read(std::int64_t first, std::span<std::int32_t> tokens) const {
  file_.read<std::int32_t>("tokens", {{first}, {static_cast<std::int64_t>(tokens.size())}}, tokens);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    LS_REQUIRE(kData, tokens[i] >= 0 && tokens[i] < vocab_, "{}: token {} is {}, outside the vocabulary of {}", path(),
               first + static_cast<std::int64_t>(i), tokens[i], vocab_);
  }
}

void TokenFile::verify() const {
  ContentHash hash;
  std::vector<std::int32_t> piece;
  for (std::int64_t first = 0; first < num_tokens(); first += kVerifyElements) {
    piece.resize(static_cast<std::size_t>(std::min(kVerifyElements, num_tokens() - first)));
    read(first, std::span(piece));
    hash.add_tokens(piece);
  }
  hash.add_offsets(offsets_);
  LS_REQUIRE(kData, hash.value() == content_hash_,
             "{}: the tokens are not those that were written (checksum differs); tokenize the text again", path());
}

}  // namespace longspan
