// Neighbours: where the tokens live that stand before and after those of a rank. What a layer needs to know whose order
// matters - a short convolution, a pooled block, a linear state - whatever the layout.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/context/layout.h"

namespace longspan {

// Consecutive tokens of one document in consecutive places: as long as it can be. Striped over several ranks, every
// token is one by itself: such a layer wants a contiguous or zigzag home (see layout_change.h).
struct TokenStretch {
  std::int64_t document = 0;
  std::int64_t first = 0;  // token
  std::int64_t begin = 0;  // its place in its owner's local order
  std::int64_t count = 0;
  std::int64_t end() const { return begin + count; }
  bool operator==(const TokenStretch&) const = default;
};

// How many tokens on either side are asked for.
struct Reach {
  std::int64_t before = 0, after = 0;
};

// What one rank has, and what it needs from whom.
class RankNeighbours {
 public:
  RankNeighbours(std::vector<TokenStretch> stretches, std::vector<TokenPlace> places, std::vector<std::int64_t> begins);
  const std::vector<TokenStretch>& stretches() const { return stretches_; }  // in local order
  // Of a stretch by its index: the tokens of its document that come right before its first or after its last one, in
  // the order of the document. As many as were asked for, fewer where the document begins or ends: none means that the
  // state starts anew, or ends, here. Some may live on the rank itself.
  std::span<const TokenPlace> before(std::size_t stretch) const { return part(2 * stretch); }
  std::span<const TokenPlace> after(std::size_t stretch) const { return part(2 * stretch + 1); }

 private:
  std::span<const TokenPlace> part(std::size_t i) const {
    return std::span(places_).subspan(static_cast<std::size_t>(begins_[i]),
                                      static_cast<std::size_t>(begins_[i + 1] - begins_[i]));
  }
  std::vector<TokenStretch> stretches_;
  std::vector<TokenPlace> places_;    // before and after of each stretch, one after another
  std::vector<std::int64_t> begins_;  // of each part in places_, and its end
};

// By rank. From positions alone. Throws Error(kInternal), naming the token, unless the home owns each token of the
// documents once.
std::vector<RankNeighbours> find_neighbours(const Home& home, std::span<const std::int64_t> cu_seqlens,
                                            const Reach& reach);

}  // namespace longspan
