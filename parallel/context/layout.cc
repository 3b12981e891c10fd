#include "parallel/context/layout.h"

#include <algorithm>
#include <numeric>

#include "parallel/context/visibility.h"

namespace longspan {
namespace {

// As many rectangles are planned and proved well within a second.
constexpr std::int64_t kPlentyOfRectangles = std::int64_t{1} << 18;

// In the order of their tokens, runs that touch as one.
void join_neighbours(std::vector<TokenRun>& runs) {
  std::sort(runs.begin(), runs.end(), [](const TokenRun& a, const TokenRun& b) { return a.first < b.first; });
  std::vector<TokenRun> joined;
  for (const TokenRun& run : runs) {
    if (!joined.empty() && joined.back().first + joined.back().count == run.first)
      joined.back().count += run.count;
    else
      joined.push_back(run);
  }
  runs = std::move(joined);
}

// Ranks that share a document where a rank's fair share of all tokens is cut into `parts` and each document gets as
// many ranks as it fills such parts; parts = 0: all ranks share every document.
std::int64_t ranks_for(std::int64_t length, std::int64_t tokens, int ranks, std::int64_t parts) {
  if (parts == 0) return ranks;
  return std::clamp<std::int64_t>((length * parts * ranks + tokens - 1) / tokens, 1, ranks);
}

// The finest cut whose plan is still small: a rank pair of one long document may have four rectangles.
std::int64_t parts_of_share(const ContextProblem& problem, int ranks) {
  const std::int64_t enough = std::max<std::int64_t>(8 * std::int64_t{ranks} * ranks, kPlentyOfRectangles);
  for (const std::int64_t parts : {0, 64, 16, 4}) {
    std::int64_t rectangles = 0;
    for (std::size_t d = 0; d + 1 < problem.cu_seqlens.size(); ++d) {
      const std::int64_t length = problem.cu_seqlens[d + 1] - problem.cu_seqlens[d];
      const std::int64_t chunks = std::min(length, 2 * ranks_for(length, problem.num_tokens(), ranks, parts));
      rectangles += chunks * chunks;
    }
    if (rectangles <= enough) return parts;
  }
  return 1;
}

// Where to begin on a circle so that `count` neighbours together have least; the first such place.
std::int64_t least_loaded_stretch(const std::vector<std::int64_t>& loads, std::int64_t count) {
  const auto ranks = static_cast<std::int64_t>(loads.size());
  const auto at = [&](std::int64_t rank) { return loads[static_cast<std::size_t>(rank % ranks)]; };
  if (count == ranks) return std::min_element(loads.begin(), loads.end()) - loads.begin();
  std::int64_t sum = 0;
  for (std::int64_t rank = 0; rank < count; ++rank) sum += at(rank);
  std::int64_t best = 0, least = sum;
  for (std::int64_t begin = 1; begin < ranks; ++begin) {
    sum += at(begin + count - 1) - at(begin - 1);
    if (sum < least) best = begin, least = sum;
  }
  return best;
}

}  // namespace

Home contiguous_home(const ContextProblem& problem, int ranks) {
  Home home(static_cast<std::size_t>(ranks));
  std::int64_t first = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const std::int64_t end = problem.num_tokens() * (rank + 1) / ranks;
    if (end > first) home[static_cast<std::size_t>(rank)] = {{first, 1, end - first}};
    first = end;
  }
  return home;
}

Home striped_home(const ContextProblem& problem, int ranks) {
  Home home(static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    const std::int64_t count = (problem.num_tokens() - rank + ranks - 1) / ranks;
    if (count > 0) home[static_cast<std::size_t>(rank)] = {{rank, ranks, count}};
  }
  return home;
}

Home zigzag_home(const ContextProblem& problem, int ranks) {
  const std::vector<std::int64_t>& cu = problem.cu_seqlens;
  const std::int64_t parts = parts_of_share(problem, ranks);
  // Long documents first, so that short ones fill what they leave.
  std::vector<std::size_t> documents(cu.size() - 1);
  std::iota(documents.begin(), documents.end(), std::size_t{0});
  std::stable_sort(documents.begin(), documents.end(),
                   [&](std::size_t a, std::size_t b) { return cu[a + 1] - cu[a] > cu[b + 1] - cu[b]; });

  Home home(static_cast<std::size_t>(ranks));
  std::vector<std::int64_t> loads(static_cast<std::size_t>(ranks));
  for (const std::size_t d : documents) {
    const std::int64_t first = cu[d], length = cu[d + 1] - first;
    if (length == 0) break;
    const std::int64_t sharers = ranks_for(length, problem.num_tokens(), ranks, parts), chunks = 2 * sharers;
    const std::int64_t begin = least_loaded_stretch(loads, sharers);
    const auto start_of = [&](std::int64_t chunk) { return first + length * chunk / chunks; };
    for (std::int64_t i = 0; i < sharers; ++i) {
      const auto rank = static_cast<std::size_t>((begin + i) % ranks);
      for (const std::int64_t chunk : {i, chunks - 1 - i}) {
        const std::int64_t count = start_of(chunk + 1) - start_of(chunk);
        if (count > 0) home[rank].push_back({start_of(chunk), 1, count});
        loads[rank] += count;
      }
    }
  }
  for (std::vector<TokenRun>& runs : home) join_neighbours(runs);
  return home;
}

std::vector<TokenPlace> places_of(const Home& home, std::int64_t num_tokens) {
  std::vector<TokenPlace> places(static_cast<std::size_t>(num_tokens));
  for (std::size_t rank = 0; rank < home.size(); ++rank) {
    std::int64_t place = 0;
    for (const TokenRun& run : home[rank])
      for (std::int64_t i = 0; i < run.count; ++i)
        places[static_cast<std::size_t>(run.first + i * run.stride)] = {static_cast<int>(rank), place++};
  }
  return places;
}

std::int64_t count_tokens(const std::vector<TokenRun>& runs) {
  std::int64_t count = 0;
  for (const TokenRun& run : runs) count += run.count;
  return count;
}

Refusal why_too_many_rectangles(const ContextProblem& problem, const Home& home, std::int64_t times) {
  std::vector<std::int64_t> runs(problem.cu_seqlens.size());
  for (const std::vector<TokenRun>& tokens : home)
    for (const TokenSegment& segment : cut_by_documents(tokens, problem.cu_seqlens).by_place) ++runs[segment.document];
  std::int64_t rectangles = 0;
  for (const std::int64_t count : runs) rectangles += count * count * times;
  if (rectangles <= kMaxRectangles) return std::nullopt;
  return fmt::format(
      "{} documents spread over {} ranks make {} rectangles, more than {}; use ring, zigzag in place of striped, or "
      "fewer ranks",
      problem.cu_seqlens.size() - 1, home.size(), rectangles, kMaxRectangles);
}

}  // namespace longspan
