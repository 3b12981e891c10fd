#include "parallel/context/neighbours.h"

#include <algorithm>
#include <utility>

#include "parallel/context/proof.h"
#include "parallel/context/visibility.h"

namespace longspan {
namespace {

// A lone token has no stride: it may begin or go on a stretch, wherever its run was cut from.
std::vector<TokenStretch> stretches_of(const std::vector<TokenRun>& home, std::span<const std::int64_t> cu_seqlens) {
  std::vector<TokenStretch> stretches;
  const auto append = [&](const TokenStretch& next) {
    if (!stretches.empty()) {
      TokenStretch& last = stretches.back();
      if (last.document == next.document && last.first + last.count == next.first) {
        last.count += next.count;
        return;
      }
    }
    stretches.push_back(next);
  };
  for (const TokenSegment& segment : cut_by_documents(home, cu_seqlens).by_place) {
    const TokenRun& run = segment.run;
    if (run.stride == 1) {
      append({segment.document, run.first, segment.begin, run.count});
      continue;
    }
    for (std::int64_t i = 0; i < run.count; ++i)
      append({segment.document, run.first + i * run.stride, segment.begin + i, 1});
  }
  return stretches;
}

}  // namespace

RankNeighbours::RankNeighbours(std::vector<TokenStretch> stretches, std::vector<TokenPlace> places,
                               std::vector<std::int64_t> begins)
    : stretches_(std::move(stretches)), places_(std::move(places)), begins_(std::move(begins)) {}

std::vector<RankNeighbours> find_neighbours(const Home& home, std::span<const std::int64_t> cu_seqlens,
                                            const Reach& reach) {
  LS_CHECK(!cu_seqlens.empty() && reach.before >= 0 && reach.after >= 0, "neighbours {} before and {} after of {}",
           reach.before, reach.after, cu_seqlens.size());
  const std::int64_t total = cu_seqlens.back();
  const auto fault = find_home_fault(home, total);
  LS_REQUIRE(kInternal, !fault, "neighbours in a home that is none of these documents: {}; plan it for them", *fault);
  const std::vector<TokenPlace> places = places_of(home, total);
  std::vector<RankNeighbours> neighbours;
  for (const std::vector<TokenRun>& runs : home) {
    std::vector<TokenStretch> stretches = stretches_of(runs, cu_seqlens);
    std::vector<TokenPlace> found;
    std::vector<std::int64_t> begins{0};
    const auto append = [&](std::int64_t begin, std::int64_t end) {
      found.insert(found.end(), places.begin() + begin, places.begin() + end);
      begins.push_back(static_cast<std::int64_t>(found.size()));
    };
    for (const TokenStretch& stretch : stretches) {
      const auto document = static_cast<std::size_t>(stretch.document);
      const std::int64_t end = stretch.first + stretch.count;
      append(stretch.first - std::min(reach.before, stretch.first - cu_seqlens[document]), stretch.first);
      append(end, end + std::min(reach.after, cu_seqlens[document + 1] - end));
    }
    neighbours.emplace_back(std::move(stretches), std::move(found), std::move(begins));
  }
  return neighbours;
}

}  // namespace longspan
