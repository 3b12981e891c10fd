// How the gradient of an embedding table is cut up: a plain function of sizes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/cuda/plan.h"

namespace longspan::cuda {

inline constexpr int kPiece = 64;        // places of the sorted list that a block sums
inline constexpr int kSumThreads = 128;  // of such a block, each with a chunk of columns
inline constexpr int kMostRange = 2048;  // tokens that a sorting block keeps counts of
inline constexpr int kMinRange = 64;     // fewer are not worth a block: each reads all tokens
inline constexpr int kWantedBlocks = 256;

// Block b of `blocks` sorts the tokens [b * range, (b + 1) * range) of the vocabulary; the last may have fewer.
struct SortPlan {
  int vocab = 0, range = 0, blocks = 0;
};

inline SortPlan plan_sort(std::int64_t tokens, std::int64_t vocab) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max() / 2;
  LS_REQUIRE(kUnsupported, tokens <= kMost && vocab <= kMost,
             "embedding_backward of {} tokens in a vocabulary of {}: at most {} each; use more ranks", tokens, vocab,
             kMost);
  const std::int64_t range = std::clamp<std::int64_t>(ceil_div(vocab, kWantedBlocks), kMinRange, kMostRange);
  return {static_cast<int>(vocab), static_cast<int>(range), static_cast<int>(ceil_div(vocab, range))};
}

// Scratch of embedding_backward but for the arena's alignment.
inline std::int64_t embedding_scratch_bytes(std::int64_t tokens, std::int64_t width) {
  return tokens * 4 + 4 + ceil_div(tokens, kPiece) * 2 * width * 4;
}

}  // namespace longspan::cuda
