#include "kernels/core/staged_copies.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "kernels/core/error.h"

namespace longspan {

StagedCopies::~StagedCopies() {
  for (Piece& piece : pieces_)
    if (piece.memory != nullptr) runtime_.release_pinned(piece.memory, piece.num_bytes);
}

void StagedCopies::copy(Stream stream, void* to, const void* from, std::int64_t num_bytes) {
  if (num_bytes == 0) return;
  std::lock_guard lock(mutex_);
  Piece& piece = free_piece(num_bytes);
  std::memcpy(piece.memory, from, static_cast<std::size_t>(num_bytes));
  runtime_.copy(stream, to, piece.memory, num_bytes);
  piece.sent->record(stream);
}

// Pieces are used in turn, so the next is the one that was sent longest ago.
StagedCopies::Piece& StagedCopies::free_piece(std::int64_t num_bytes) {
  constexpr std::size_t kMaxPieces = 8;
  constexpr std::int64_t kLeastBytes = 64 << 10;
  const bool all_busy = pieces_.empty() || !pieces_[oldest_].sent->is_reached();
  if (all_busy && pieces_.size() < kMaxPieces) {
    pieces_.insert(pieces_.begin() + static_cast<std::ptrdiff_t>(oldest_),
                   {nullptr, 0, runtime_.make_event(EventTiming::kOff)});
  }
  Piece& piece = pieces_[oldest_];
  oldest_ = (oldest_ + 1) % pieces_.size();
  if (piece.memory != nullptr) piece.sent->wait();
  if (piece.num_bytes >= num_bytes) return piece;
  if (piece.memory != nullptr) runtime_.release_pinned(piece.memory, piece.num_bytes);
  piece.num_bytes =
      std::max(kLeastBytes, static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(num_bytes))));
  piece.memory = runtime_.allocate_pinned(piece.num_bytes);
  if (piece.memory == nullptr) {
    const std::int64_t asked = std::exchange(piece.num_bytes, 0);
    fail(ErrorKind::kMemory, "{}: no {} bytes of pinned host memory for copies to the device; free host memory",
         runtime_.name(), asked);
  }
  return piece;
}

}  // namespace longspan
