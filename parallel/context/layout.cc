#include "parallel/context/layout.h"

#include <algorithm>

#include "parallel/context/visibility.h"

namespace longspan {

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
  Home home(static_cast<std::size_t>(ranks));
  const std::int64_t chunks = 2 * std::int64_t{ranks};
  const auto append = [](std::vector<TokenRun>& runs, std::int64_t begin, std::int64_t end) {
    if (begin == end) return;
    if (!runs.empty() && runs.back().first + runs.back().count == begin)
      runs.back().count += end - begin;
    else
      runs.push_back({begin, 1, end - begin});
  };
  for (std::size_t d = 0; d + 1 < problem.cu_seqlens.size(); ++d) {
    const std::int64_t first = problem.cu_seqlens[d], length = problem.cu_seqlens[d + 1] - first;
    const auto start_of = [&](std::int64_t chunk) { return first + length * chunk / chunks; };
    for (std::int64_t i = 0; i < ranks; ++i) {
      std::vector<TokenRun>& runs = home[static_cast<std::size_t>((i + first) % ranks)];
      append(runs, start_of(i), start_of(i + 1));
      append(runs, start_of(chunks - 1 - i), start_of(chunks - i));
    }
  }
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
  return fmt::format("{} documents spread over {} ranks make {} rectangles, more than {}; use ring or fewer ranks",
                     problem.cu_seqlens.size() - 1, home.size(), rectangles, kMaxRectangles);
}

}  // namespace longspan
