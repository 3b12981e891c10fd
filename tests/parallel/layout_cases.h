// Layouts over packed batches that the tests of layout changes and neighbours share.
#pragma once

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "parallel/context/layout.h"

namespace longspan::layout_cases {

struct NamedHome {
  std::string name;
  Home home;
};

// Every token to a random rank, in random order, each a run by itself.
inline Home random_home(std::int64_t tokens, int ranks, std::mt19937& random) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(tokens));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::shuffle(order.begin(), order.end(), random);
  Home home(static_cast<std::size_t>(ranks));
  for (const std::int64_t token : order)
    home[std::uniform_int_distribution<std::size_t>(0, home.size() - 1)(random)].push_back({token, 1, 1});
  return home;
}

inline std::vector<NamedHome> homes_of(const std::vector<std::int64_t>& cu_seqlens, int ranks) {
  std::mt19937 random(static_cast<unsigned>(cu_seqlens.back() * 8 + ranks));
  const ContextProblem problem{.cu_seqlens = cu_seqlens};
  return {{"contiguous", contiguous_home(problem, ranks)},
          {"striped", striped_home(problem, ranks)},
          {"zigzag", zigzag_home(problem, ranks)},
          {"random", random_home(cu_seqlens.back(), ranks, random)}};
}

// Nothing, one token, fewer tokens than ranks, empty and one-token documents, primes, a long one, and random ones.
inline std::vector<std::vector<std::int64_t>> batches() {
  std::vector<std::vector<std::int64_t>> all = {{0},          {0, 0, 0},  {0, 1},         {0, 3},
                                                {0, 5, 5, 6}, {0, 1, 31}, {0, 2, 19, 23}, {0, 13, 14, 14, 37, 101},
                                                {0, 64, 128}, {0, 257}};
  std::mt19937 random(3);
  for (int round = 0; round < 6; ++round) {
    std::vector<std::int64_t> cu_seqlens{0};
    for (int d = 0; d < 7; ++d)
      cu_seqlens.push_back(cu_seqlens.back() + std::uniform_int_distribution<int>(0, 29)(random));
    all.push_back(cu_seqlens);
  }
  return all;
}

inline std::vector<std::vector<std::int64_t>> tokens_of(const Home& home) {
  std::vector<std::vector<std::int64_t>> tokens(home.size());
  for (std::size_t rank = 0; rank < home.size(); ++rank)
    for (const TokenRun& run : home[rank])
      for (std::int64_t i = 0; i < run.count; ++i) tokens[rank].push_back(run.first + i * run.stride);
  return tokens;
}

}  // namespace longspan::layout_cases
