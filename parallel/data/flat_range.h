// FlatRange: a stretch of a flat tensor.
#pragma once

#include <algorithm>
#include <cstdint>

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

}  // namespace longspan
