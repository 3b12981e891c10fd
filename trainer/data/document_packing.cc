#include "trainer/data/document_packing.h"

#include <algorithm>
#include <map>

#include "kernels/core/error.h"

namespace longspan {

DocumentPacking::DocumentPacking(std::span<const std::int64_t> lengths, const SourceOptions& options)
    : options_(options) {
  std::vector<DocumentPiece> pieces;
  for (std::size_t document = 0; document < lengths.size(); ++document) {
    const std::int64_t length = lengths[document];
    for (std::int64_t begin = 0; begin < length; begin += options_.sequence_length) {
      pieces.push_back(
          {static_cast<std::int64_t>(document), begin, std::min(options_.sequence_length, length - begin)});
    }
  }
  pack(std::move(pieces));
}

// Best fit, longest first: each piece goes to the fullest sequence that still has room for it.
void DocumentPacking::pack(std::vector<DocumentPiece> pieces) {
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const DocumentPiece& a, const DocumentPiece& b) { return a.length > b.length; });
  std::vector<std::vector<DocumentPiece>> sequences;
  std::map<std::int64_t, std::vector<std::size_t>> by_room;
  for (const DocumentPiece& piece : pieces) {
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
  sequence_begins_.push_back(0);
  for (const std::vector<DocumentPiece>& sequence : sequences) {
    pieces_.insert(pieces_.end(), sequence.begin(), sequence.end());
    sequence_begins_.push_back(static_cast<std::int64_t>(pieces_.size()));
  }
}

std::span<const DocumentPiece> DocumentPacking::pieces_of(std::int64_t index) const {
  const std::int64_t count = sequences_per_epoch();
  LS_CHECK(index >= 0 && count > 0, "sequence {} of {}", index, count);
  const auto order =
      epochs_.get(index / count, [&](std::int64_t epoch) { return epoch_order(count, options_, epoch); });
  const auto packed = static_cast<std::size_t>((*order)[static_cast<std::size_t>(index % count)]);
  const auto begin = static_cast<std::size_t>(sequence_begins_[packed]);
  return std::span(pieces_).subspan(begin, static_cast<std::size_t>(sequence_begins_[packed + 1]) - begin);
}

}  // namespace longspan
