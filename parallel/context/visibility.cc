#include "parallel/context/visibility.h"

#include <algorithm>

namespace longspan {
namespace {

constexpr std::int64_t kAnyDistance = std::int64_t{1} << 60;

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
std::int64_t ceil_divide(std::int64_t a, std::int64_t b) {
  return -floor_divide(-a, b);
}

std::int64_t last_of(const TokenRun& run) {
  return run.first + (run.count - 1) * run.stride;
}

// Drops the rows and columns that hold no pair of the band; false if none is left.
bool trim(VisibleBlock& block) {
  const std::int64_t queries = block.q_end - block.q_begin, keys = block.kv_end - block.kv_begin;
  const auto [lo, hi] = block.band;
  if (lo > hi) return false;
  const std::int64_t q_begin = std::max<std::int64_t>(0, -hi), q_end = std::min(queries, keys - lo);
  const std::int64_t kv_begin = std::max<std::int64_t>(0, lo), kv_end = std::min(keys, queries + hi);
  if (q_begin >= q_end || kv_begin >= kv_end) return false;
  const std::int64_t shift = q_begin - kv_begin;
  block = {block.q_begin + q_begin, block.q_begin + q_end, block.kv_begin + kv_begin, block.kv_begin + kv_end,
           shortest({lo + shift, hi + shift}, q_end - q_begin, kv_end - kv_begin)};
  return true;
}

}  // namespace

VisibleDistances visible_distances(const ContextProblem& problem) {
  if (!problem.causal) return {-kAnyDistance, kAnyDistance};
  return {0, problem.window > 0 ? std::min(problem.window - 1, kAnyDistance) : kAnyDistance};
}

TokenSegment part_of(const TokenSegment& segment, std::int64_t begin, std::int64_t end) {
  const TokenRun& run = segment.run;
  return {segment.document, begin, {run.first + (begin - segment.begin) * run.stride, run.stride, end - begin}};
}

Shard cut_by_documents(const std::vector<TokenRun>& home, std::span<const std::int64_t> cu_seqlens) {
  Shard shard;
  std::int64_t place = 0;
  for (const TokenRun& run : home) {
    for (std::int64_t done = 0; done < run.count;) {
      const std::int64_t token = run.first + done * run.stride;
      const auto end = std::upper_bound(cu_seqlens.begin(), cu_seqlens.end(), token);
      const std::int64_t count = std::min(run.count - done, ceil_divide(*end - token, run.stride));
      shard.by_place.push_back({end - cu_seqlens.begin() - 1, place, {token, run.stride, count}});
      place += count;
      done += count;
    }
  }
  shard.by_document = shard.by_place;
  std::stable_sort(shard.by_document.begin(), shard.by_document.end(),
                   [](const TokenSegment& a, const TokenSegment& b) { return a.document < b.document; });
  return shard;
}

std::vector<Shard> cut_by_documents(const ContextPlan& plan) {
  std::vector<Shard> shards;
  shards.reserve(plan.home.size());
  for (const std::vector<TokenRun>& home : plan.home) shards.push_back(cut_by_documents(home, plan.problem.cu_seqlens));
  return shards;
}

std::int64_t count_pairs(const VisibleBlock& block) {
  return count_pairs(AttentionTask{block.q_begin, block.q_end, block.kv_begin, block.kv_end, 0, 1, block.band});
}

Band shortest(const Band& band, std::int64_t queries, std::int64_t keys) {
  return {band.lo <= 1 - queries ? Band::kUnboundedLow : band.lo, band.hi >= keys - 1 ? Band::kUnboundedHigh : band.hi};
}

void append_visible(const VisibleDistances& visible, const TokenSegment& q, const TokenSegment& kv,
                    std::vector<VisibleBlock>& blocks) {
  if (q.run.count == 0 || kv.run.count == 0 || q.document != kv.document) return;
  const std::int64_t nearest = q.run.first - last_of(kv.run), farthest = last_of(q.run) - kv.run.first;
  if (farthest < visible.min || nearest > visible.max) return;
  VisibleBlock block{q.begin, q.end(), kv.begin, kv.end(), {}};
  if (visible.contains(nearest) && visible.contains(farthest)) return blocks.push_back(block);
  if (q.run.stride == kv.run.stride || q.run.count == 1 || kv.run.count == 1) {
    // Query i and key j stand (first_q - first_kv) - (j - i) * stride apart: a range of distances is a band of j - i.
    // A lone token has no stride of its own and takes the other side's.
    const std::int64_t stride = q.run.count == 1 ? kv.run.stride : q.run.stride;
    const std::int64_t apart = q.run.first - kv.run.first;
    block.band = {ceil_divide(apart - visible.max, stride), floor_divide(apart - visible.min, stride)};
    if (trim(block)) blocks.push_back(block);
    return;
  }
  const std::int64_t middle = q.begin + q.run.count / 2;
  append_visible(visible, part_of(q, q.begin, middle), kv, blocks);
  append_visible(visible, part_of(q, middle, q.end()), kv, blocks);
}

void append_visible(const VisibleDistances& visible, const Shard& q, const Shard& kv,
                    std::vector<VisibleBlock>& blocks) {
  auto key = kv.by_document.begin();
  for (const TokenSegment& query : q.by_document) {
    while (key != kv.by_document.end() && key->document < query.document) ++key;
    for (auto same = key; same != kv.by_document.end() && same->document == query.document; ++same)
      append_visible(visible, query, *same, blocks);
  }
}

}  // namespace longspan
