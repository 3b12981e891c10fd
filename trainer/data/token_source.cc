#include "trainer/data/token_source.h"

#include <algorithm>
#include <numeric>

#include "kernels/core/error.h"
#include "trainer/data/document_packing.h"
#include "trainer/data/passkey.h"
#include "trainer/data/random.h"

namespace longspan {
namespace {

std::size_t at_index(std::int64_t index) {
  return static_cast<std::size_t>(index);
}

// Adds a piece of a document, with the label of its last token even where the document is cut there.
void add_piece(const TokenFile& file, const DocumentPiece& piece, PackedSequence& sequence) {
  const bool cut = piece.begin + piece.length < file.document_length(piece.document);
  const std::size_t before = sequence.tokens.size();
  sequence.tokens.resize(before + at_index(piece.length) + (cut ? 1 : 0));
  file.read(file.document_begin(piece.document) + piece.begin, std::span(sequence.tokens).subspan(before));
  sequence.labels.insert(sequence.labels.end(), sequence.tokens.begin() + static_cast<std::ptrdiff_t>(before) + 1,
                         sequence.tokens.end());
  if (cut) {
    sequence.tokens.pop_back();
  } else {
    sequence.labels.push_back(-1);
  }
  sequence.cu_seqlens.push_back(sequence.cu_seqlens.back() + piece.length);
}

// Sequences that are pieces of a file's documents.
class FileSource : public SequenceSource {
 public:
  FileSource(std::shared_ptr<const TokenFile> file, const SourceOptions& options)
      : file_(std::move(file)), options_(options) {}

  std::vector<std::int64_t> lengths_of(std::int64_t index) const override {
    std::vector<std::int64_t> lengths;
    for (const DocumentPiece& piece : pieces_of(index)) lengths.push_back(piece.length);
    return lengths;
  }
  PackedSequence documents_of(std::int64_t index, std::span<const std::int64_t> places) const override {
    const std::vector<DocumentPiece> pieces = pieces_of(index);
    PackedSequence sequence;
    sequence.cu_seqlens = {0};
    for (const std::int64_t place : places) {
      LS_CHECK(place >= 0 && at_index(place) < pieces.size(), "document {} of {}", place, pieces.size());
      add_piece(*file_, pieces[at_index(place)], sequence);
    }
    return sequence;
  }
  std::int64_t num_tokens() const override { return file_->num_tokens(); }
  std::string describe() const override {
    return fmt::format("{}: {} documents, {} tokens of {}", file_->path(), file_->num_documents(), file_->num_tokens(),
                       file_->tokenizer_name());
  }

 protected:
  virtual std::vector<DocumentPiece> pieces_of(std::int64_t index) const = 0;
  const TokenFile& file() const { return *file_; }
  const SourceOptions& options() const { return options_; }

 private:
  std::shared_ptr<const TokenFile> file_;
  SourceOptions options_;
};

class ConcatSource : public FileSource {
 public:
  using FileSource::FileSource;

  std::int64_t sequences_per_epoch() const override {
    return (file().num_tokens() + options().sequence_length - 1) / options().sequence_length;
  }
  std::uint64_t fingerprint() const override {
    return mix_seeds(file().content_hash(), static_cast<std::uint64_t>(options().sequence_length), 1);
  }

 protected:
  std::vector<DocumentPiece> pieces_of(std::int64_t index) const override {
    std::vector<DocumentPiece> pieces;
    const std::int64_t length = options().sequence_length, epoch_tokens = file().num_tokens();
    for (std::int64_t filled = 0; filled < length;) {
      const std::int64_t position = index * length + filled;
      const auto epoch = epochs_.get(position / epoch_tokens, [this](std::int64_t e) { return lay_out(e); });
      const std::int64_t offset = position % epoch_tokens;
      const auto above = std::upper_bound(epoch->begins.begin(), epoch->begins.end(), offset);
      const auto place = static_cast<std::size_t>(above - epoch->begins.begin()) - 1;
      const std::int64_t begin = offset - epoch->begins[place];
      const std::int64_t document = epoch->order[place];
      const std::int64_t count = std::min(length - filled, file().document_length(document) - begin);
      pieces.push_back({document, begin, count});
      filled += count;
    }
    return pieces;
  }

 private:
  struct Epoch {
    std::vector<std::int64_t> order;   // documents as they are laid out
    std::vector<std::int64_t> begins;  // where each begins
  };
  Epoch lay_out(std::int64_t epoch) const {
    Epoch laid{epoch_order(file().num_documents(), options(), epoch), {}};
    laid.begins.reserve(laid.order.size());
    std::int64_t begin = 0;
    for (const std::int64_t document : laid.order) {
      laid.begins.push_back(begin);
      begin += file().document_length(document);
    }
    return laid;
  }
  EpochCache<Epoch> epochs_;
};

std::vector<std::int64_t> lengths_in(const TokenFile& file) {
  std::vector<std::int64_t> lengths(at_index(file.num_documents()));
  for (std::size_t d = 0; d < lengths.size(); ++d) lengths[d] = file.document_length(static_cast<std::int64_t>(d));
  return lengths;
}

class DocumentsSource : public FileSource {
 public:
  DocumentsSource(std::shared_ptr<const TokenFile> tokens, const SourceOptions& given)
      : FileSource(std::move(tokens), given), packing_(lengths_in(file()), given) {}

  std::int64_t sequences_per_epoch() const override { return packing_.sequences_per_epoch(); }
  std::string describe() const override {
    const double places = static_cast<double>(sequences_per_epoch()) * static_cast<double>(options().sequence_length);
    return fmt::format("{}, {:.1f} % of the sequences' places filled", FileSource::describe(),
                       100 * static_cast<double>(num_tokens()) / places);
  }
  std::uint64_t fingerprint() const override {
    return mix_seeds(file().content_hash(), static_cast<std::uint64_t>(options().sequence_length), 2);
  }

 protected:
  std::vector<DocumentPiece> pieces_of(std::int64_t index) const override {
    const auto pieces = packing_.pieces_of(index);
    return {pieces.begin(), pieces.end()};
  }

 private:
  DocumentPacking packing_;
};

class PasskeySource : public SequenceSource {
 public:
  PasskeySource(std::int64_t length, std::uint64_t seed) : length_(length), seed_(seed) {
    make_passkey_sequence(length_, seed_, 0);  // refuses a length that is too short before anything runs
  }
  std::vector<std::int64_t> lengths_of(std::int64_t) const override { return {length_}; }
  PackedSequence documents_of(std::int64_t index, std::span<const std::int64_t> places) const override {
    LS_CHECK(places.size() <= 1 && (places.empty() || places[0] == 0), "{} of 1 document", places.size());
    if (places.empty()) return {{}, {}, {0}};
    return make_passkey_sequence(length_, seed_, index).sequence;
  }
  std::int64_t sequences_per_epoch() const override { return std::int64_t{1} << 20; }  // endless, in truth
  std::int64_t num_tokens() const override { return 0; }
  std::string describe() const override { return fmt::format("{}: made as it is needed", kPasskeySource); }
  std::uint64_t fingerprint() const override { return mix_seeds(seed_, static_cast<std::uint64_t>(length_), 3); }

 private:
  std::int64_t length_;
  std::uint64_t seed_;
};

}  // namespace

PackedSequence SequenceSource::at(std::int64_t index) const {
  std::vector<std::int64_t> all(lengths_of(index).size());
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return documents_of(index, all);
}

std::unique_ptr<SequenceSource> make_concat_source(std::shared_ptr<const TokenFile> file,
                                                   const SourceOptions& options) {
  return std::make_unique<ConcatSource>(std::move(file), options);
}

std::unique_ptr<SequenceSource> make_documents_source(std::shared_ptr<const TokenFile> file,
                                                      const SourceOptions& options) {
  return std::make_unique<DocumentsSource>(std::move(file), options);
}

std::unique_ptr<SequenceSource> make_passkey_source(std::int64_t sequence_length, std::uint64_t seed) {
  return std::make_unique<PasskeySource>(sequence_length, seed);
}

}  // namespace longspan
