// Visibility: from tokens to the rectangles and bands that are computed. The one place of this room that knows masks:
// planners and the validator derive everything from the predicate on global positions that stands here.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/context/context_plan.h"

namespace longspan {

// A query at position p sees a key at position k of its own document iff min <= p - k <= max.
struct VisibleDistances {
  std::int64_t min = 0, max = 0;
  bool contains(std::int64_t distance) const { return min <= distance && distance <= max; }
};
VisibleDistances visible_distances(const ContextProblem& problem);

// Tokens of one document that stand one after another on a rank: a run again, whatever the run it was cut from.
struct TokenSegment {
  std::int64_t document = 0;
  std::int64_t begin = 0;  // place of the first token in its owner's local order
  TokenRun run;
  std::int64_t end() const { return begin + run.count; }
};

// The part of a segment that stands at places begin … end-1 of its owner's local order.
TokenSegment part_of(const TokenSegment& segment, std::int64_t begin, std::int64_t end);

// What one rank owns, cut at document boundaries.
struct Shard {
  std::vector<TokenSegment> by_place;     // in local order
  std::vector<TokenSegment> by_document;  // by document, then in local order
};
Shard cut_by_documents(const std::vector<TokenRun>& home, std::span<const std::int64_t> cu_seqlens);
std::vector<Shard> cut_by_documents(const ContextPlan& plan);

// A rectangle of places in local order whose pairs within the band are visible, all others not.
struct VisibleBlock {
  std::int64_t q_begin = 0, q_end = 0;
  std::int64_t kv_begin = 0, kv_end = 0;
  Band band;
};
// Visible pairs of one head.
std::int64_t count_pairs(const VisibleBlock& block);

// The band in its shortest form over so many queries and keys: unbounded on a side that excludes nothing.
Band shortest(const Band& band, std::int64_t queries, std::int64_t keys);

// Appends rectangles that hold every visible pair of the two segments once, each trimmed to the queries and keys that
// see anything. One at most where the strides agree; otherwise about as many as the shorter side has tokens.
void append_visible(const VisibleDistances& visible, const TokenSegment& q, const TokenSegment& kv,
                    std::vector<VisibleBlock>& blocks);
// The same for two ranks, document by document.
void append_visible(const VisibleDistances& visible, const Shard& q, const Shard& kv,
                    std::vector<VisibleBlock>& blocks);

}  // namespace longspan
