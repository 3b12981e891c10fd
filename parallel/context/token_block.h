// TokenBlock: some tokens of one owner x some heads, and the little algebra that proofs about transfers need.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace longspan {

struct TokenBlock {
  std::int64_t begin = 0, end = 0;            // places in the owner's local order
  std::int64_t head_begin = 0, head_end = 0;  // of the kind of heads that the data have
  bool empty() const { return begin >= end || head_begin >= head_end; }
};

inline TokenBlock intersection(const TokenBlock& a, const TokenBlock& b) {
  return {std::max(a.begin, b.begin), std::min(a.end, b.end), std::max(a.head_begin, b.head_begin),
          std::min(a.head_end, b.head_end)};
}

// Appends what is left of `whole` without `part`: disjoint blocks, four at most.
inline void append_difference(const TokenBlock& whole, const TokenBlock& part, std::vector<TokenBlock>& rest) {
  const TokenBlock common = intersection(whole, part);
  if (common.empty()) return rest.push_back(whole);
  if (whole.begin < common.begin) rest.push_back({whole.begin, common.begin, whole.head_begin, whole.head_end});
  if (common.end < whole.end) rest.push_back({common.end, whole.end, whole.head_begin, whole.head_end});
  if (whole.head_begin < common.head_begin)
    rest.push_back({common.begin, common.end, whole.head_begin, common.head_begin});
  if (common.head_end < whole.head_end) rest.push_back({common.begin, common.end, common.head_end, whole.head_end});
}

}  // namespace longspan
