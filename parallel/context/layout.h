// Layouts: which tokens live on which rank. What planners of several families share.
#pragma once

#include <vector>

#include "parallel/context/context_plan.h"

namespace longspan {

// By rank, its tokens in local order. All of them share out T tokens over P ranks without padding.
using Home = std::vector<std::vector<TokenRun>>;

// Rank r has the r-th of P stretches, whatever documents they hold; shards differ by one token at most.
Home contiguous_home(const ContextProblem& problem, int ranks);
// Token t lives on rank t mod P (Brandon et al. 2023).
Home striped_home(const ContextProblem& problem, int ranks);
// Each document is cut into 2P chunks, of which rank r has the r-th and the r-th from the end: early tokens, which see
// little, with late ones, which see much (the layout of Megatron and of ring-flash-attention). Which rank begins moves
// on with the place of the document, so that documents shorter than 2P tokens do not all land on the same ranks.
Home zigzag_home(const ContextProblem& problem, int ranks);

// Where a token lives: its place in its owner's local order.
struct TokenPlace {
  int rank = 0;
  std::int64_t place = 0;
  bool operator==(const TokenPlace&) const = default;
};
// By token, of a home that owns each of num_tokens tokens once.
std::vector<TokenPlace> places_of(const Home& home, std::int64_t num_tokens);
std::int64_t count_tokens(const std::vector<TokenRun>& runs);

// Every run of a document may meet every other of it in a rectangle, `times` over. A plan of more of them than this is
// no plan to run: refused, with what to try.
inline constexpr std::int64_t kMaxRectangles = std::int64_t{1} << 24;
Refusal why_too_many_rectangles(const ContextProblem& problem, const Home& home, std::int64_t times);

}  // namespace longspan
