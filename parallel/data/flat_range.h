// FlatRange: a stretch of a flat tensor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace longspan {

// Elements begin … end-1.
struct FlatRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const FlatRange&) const = default;
};

// What lies in both; empty where they do not meet.
inline FlatRange common_part(const FlatRange& a, const FlatRange& b) {
  const std::int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

// What of these ranges, ascending, lies outside the hole.
inline std::vector<FlatRange> without(std::span<const FlatRange> ranges, const FlatRange& hole) {
  std::vector<FlatRange> rest;
  const auto keep = [&](const FlatRange& part) {
    if (part.size() > 0) rest.push_back(part);
  };
  for (const FlatRange& range : ranges) {
    if (common_part(range, hole).size() == 0) {
      keep(range);
      continue;
    }
    keep({range.begin, std::max(range.begin, hole.begin)});
    keep({std::min(range.end, hole.end), range.end});
  }
  return rest;
}

inline std::int64_t total_size(std::span<const FlatRange> ranges) {
  std::int64_t total = 0;
  for (const FlatRange& range : ranges) total += range.size();
  return total;
}

}  // namespace longspan
