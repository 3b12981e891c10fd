#include "trainer/data/token_source.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>

#include "kernels/core/error.h"
#include "trainer/data/passkey.h"
#include "trainer/data/random.h"

namespace longspan {
namespace {

std::size_t at_index(std::int64_t index) {
  return static_cast<std::size_t>(index);
}

std::vector<std::int64_t> epoch_order(std::int64_t count, const SourceOptions& options, std::int64_t epoch) {
  if (options.shuffle_seed) {
    return shuffled_order(count, mix_seeds(*options.shuffle_seed, 0, static_cast<std::uint64_t>(epoch)));
  }
  std::vector<std::int64_t> order(at_index(count));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  return order;
}

// Adds tokens [begin, begin + length) of a document, with the label of the last even where the piece is cut there.
void add_piece(const TokenFile& file, std::int64_t document, std::int64_t begin, std::int64_t length,
               PackedSequence& sequence) {
  const bool cut = begin + length < file.document_length(document);
  const std::size_t before = sequence.tokens.size();
  sequence.tokens.resize(before + at_index(length) + (cut ? 1 : 0));
  file.read(file.document_begin(document) + begin, std::span(sequence.tokens).subspan(before));
  sequence.labels.insert(sequence.labels.end(), sequence.tokens.begin() + static_cast<std::ptrdiff_t>(before) + 1,
                         sequence.tokens.end());
  if (cut) {
    sequence.tokens.pop_back();
  } else {
    sequence.labels.push_back(-1);
  }
  sequence.cu_seqlens.push_back(sequence.cu_seqlens.back() + length);
}

// What an epoch needs, made when it is first met. Two are kept: a sequence may lie across the end of one.
template <class Epoch>
class EpochCache {
 public:
  template <class Make>
  std::shared_ptr<const Epoch> get(std::int64_t epoch, const Make& make) const {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<const Epoch>& entry = epochs_[epoch];
    if (!entry) entry = std::make_shared<const Epoch>(make(epoch));
    const std::shared_ptr<const Epoch> found = entry;
    while (epochs_.size() > 2) {
      const auto oldest = epochs_.begin();
      epochs_.erase(oldest->first == epoch ? std::next(oldest) : oldest);
    }
    return found;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::map<std::int64_t, std::shared_ptr<const Epoch>> epochs_;
};

std::string describe_file(const TokenFile& file) {
  return fmt::format("{}: {} documents, {} tokens of {}", file.path(), file.num_documents(), file.num_tokens(),
                     file.tokenizer_name());
}

class ConcatSource : public SequenceSource {
 public:
  ConcatSource(std::shared_ptr<const TokenFile> file, const SourceOptions& options)
      : file_(std::move(file)), options_(options) {}

  PackedSequence at(std::int64_t index) const override {
    PackedSequence sequence;
    sequence.cu_seqlens = {0};
    const std::int64_t length = options_.sequence_length, epoch_tokens = file_->num_tokens();
    for (std::int64_t filled = 0; filled < length;) {
      const std::int64_t position = index * length + filled;
      const auto epoch = epochs_.get(position / epoch_tokens, [this](std::int64_t e) { return lay_out(e); });
      const std::int64_t offset = position % epoch_tokens;
      const auto above = std::upper_bound(epoch->begins.begin(), epoch->begins.end(), offset);
      const auto place = static_cast<std::size_t>(above - epoch->begins.begin()) - 1;
      const std::int64_t begin = offset - epoch->begins[place];
      const std::int64_t document = epoch->order[place];
      const std::int64_t count = std::min(length - filled, file_->document_length(document) - begin);
      add_piece(*file_, document, begin, count, sequence);
      filled += count;
    }
    return sequence;
  }
  std::int64_t sequences_per_epoch() const override {
    return (file_->num_tokens() + options_.sequence_length - 1) / options_.sequence_length;
  }
  std::int64_t num_tokens() const override { return file_->num_tokens(); }
  std::string describe() const override { return describe_file(*file_); }
  std::uint64_t fingerprint() const override {
    return mix_seeds(file_->content_hash(), static_cast<std::uint64_t>(options_.sequence_length), 1);
  }

 private:
  struct Epoch {
    std::vector<std::int64_t> order;   // documents as they are laid out
    std::vector<std::int64_t> begins;  // where each begins
  };
  Epoch lay_out(std::int64_t epoch) const {
    Epoch laid{epoch_order(file_->num_documents(), options_, epoch), {}};
    laid.begins.reserve(laid.order.size());
    std::int64_t begin = 0;
    for (const std::int64_t document : laid.order) {
      laid.begins.push_back(begin);
      begin += file_->document_length(document);
    }
    return laid;
  }
  std::shared_ptr<const TokenFile> file_;
  SourceOptions options_;
  EpochCache<Epoch> epochs_;
};

class DocumentsSource : public SequenceSource {
 public:
  DocumentsSource(std::shared_ptr<const TokenFile> file, const SourceOptions& options)
      : file_(std::move(file)), options_(options) {
    cut_documents();
    pack_pieces();
  }

  PackedSequence at(std::int64_t index) const override {
    const std::int64_t count = sequences_per_epoch();
    const auto order =
        epochs_.get(index / count, [&](std::int64_t epoch) { return epoch_order(count, options_, epoch); });
    const std::size_t packed = at_index((*order)[at_index(index % count)]);
    PackedSequence sequence;
    sequence.cu_seqlens = {0};
    for (std::int64_t i = sequence_begins_[packed]; i < sequence_begins_[packed + 1]; ++i) {
      const Piece& piece = pieces_[at_index(i)];
      add_piece(*file_, piece.document, piece.begin, piece.length, sequence);
    }
    return sequence;
  }
  std::int64_t sequences_per_epoch() const override { return static_cast<std::int64_t>(sequence_begins_.size()) - 1; }
  std::int64_t num_tokens() const override { return file_->num_tokens(); }
  std::string describe() const override {
    const double places = static_cast<double>(sequences_per_epoch()) * static_cast<double>(options_.sequence_length);
    return fmt::format("{}, {:.1f} % of the sequences' places filled", describe_file(*file_),
                       100 * static_cast<double>(file_->num_tokens()) / places);
  }
  std::uint64_t fingerprint() const override {
    return mix_seeds(file_->content_hash(), static_cast<std::uint64_t>(options_.sequence_length), 2);
  }

 private:
  struct Piece {
    std::int64_t document, begin, length;
  };

  void cut_documents() {
    for (std::int64_t document = 0; document < file_->num_documents(); ++document) {
      const std::int64_t length = file_->document_length(document);
      for (std::int64_t begin = 0; begin < length; begin += options_.sequence_length) {
        pieces_.push_back({document, begin, std::min(options_.sequence_length, length - begin)});
      }
    }
  }
  // Best fit, longest first: each piece goes to the fullest sequence that still has room for it.
  void pack_pieces() {
    std::stable_sort(pieces_.begin(), pieces_.end(),
                     [](const Piece& a, const Piece& b) { return a.length > b.length; });
    std::vector<std::vector<Piece>> sequences;
    std::map<std::int64_t, std::vector<std::size_t>> by_room;
    for (const Piece& piece : pieces_) {
      auto fit = by_room.lower_bound(piece.length);
      std::size_t sequence = sequences.size();
      std::int64_t room = options_.sequence_length;
      if (fit == by_room.end()) {
        sequences.emplace_back();
      } else {
        room = fit->first;
        sequence = fit->second.back();
        fit->second.pop_back();
        if (fit->second.empty()) by_room.erase(fit);
      }
      sequences[sequence].push_back(piece);
      if (room > piece.length) by_room[room - piece.length].push_back(sequence);
    }
    pieces_.clear();
    sequence_begins_.push_back(0);
    for (const std::vector<Piece>& sequence : sequences) {
      pieces_.insert(pieces_.end(), sequence.begin(), sequence.end());
      sequence_begins_.push_back(static_cast<std::int64_t>(pieces_.size()));
    }
  }

  std::shared_ptr<const TokenFile> file_;
  SourceOptions options_;
  std::vector<Piece> pieces_;                  // one packed sequence after another
  std::vector<std::int64_t> sequence_begins_;  // into pieces_
  EpochCache<std::vector<std::int64_t>> epochs_;
};

class PasskeySource : public SequenceSource {
 public:
  PasskeySource(std::int64_t length, std::uint64_t seed) : length_(length), seed_(seed) {
    make_passkey_sequence(length_, seed_, 0);  // refuses a length that is too short before anything runs
  }
  PackedSequence at(std::int64_t index) const override { return make_passkey_sequence(length_, seed_, index).sequence; }
  std::int64_t sequences_per_epoch() const override { return std::int64_t{1} << 20; }  // endless, in truth
  std::int64_t num_tokens() const override { return 0; }
  std::string describe() const override { return fmt::format("{}: made as it is needed", kPasskeySource); }
  std::uint64_t fingerprint() const override { return mix_seeds(seed_, static_cast<std::uint64_t>(length_), 3); }

 private:
  std::int64_t length_;
  std::uint64_t seed_;
};

}  // namespace

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
