// Neighbours against positions, token by token.
#include "parallel/context/neighbours.h"

#include "tests/parallel/layout_cases.h"
#include "tests/support/expect_error.h"

namespace longspan {
namespace {

using layout_cases::homes_of;
using layout_cases::NamedHome;

std::int64_t document_of(const std::vector<std::int64_t>& cu_seqlens, std::int64_t token) {
  std::int64_t document = -1;
  for (const std::int64_t bound : cu_seqlens) document += bound <= token;
  return document;
}

// The token that stands in a place.
std::int64_t token_at(const std::vector<std::vector<std::int64_t>>& tokens, const TokenPlace& place) {
  return tokens.at(static_cast<std::size_t>(place.rank)).at(static_cast<std::size_t>(place.place));
}

// All tokens of the document in [begin, end), in order.
std::vector<std::int64_t> of_document(const std::vector<std::int64_t>& cu_seqlens, std::int64_t document,
                                      std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t token = std::max<std::int64_t>(0, begin); token < std::min(end, cu_seqlens.back()); ++token)
    if (document_of(cu_seqlens, token) == document) tokens.push_back(token);
  return tokens;
}

void expect_rank(const std::vector<std::int64_t>& cu_seqlens, const Reach& reach,
                 const std::vector<std::vector<std::int64_t>>& tokens, std::size_t rank,
                 const RankNeighbours& neighbours) {
  const std::vector<std::int64_t>& own = tokens[rank];
  std::int64_t place = 0;
  for (std::size_t s = 0; s < neighbours.stretches().size(); ++s) {
    const TokenStretch& stretch = neighbours.stretches()[s];
    ASSERT_EQ(stretch.begin, place);
    ASSERT_GT(stretch.count, 0);
    for (std::int64_t i = 0; i < stretch.count; ++i) {
      ASSERT_EQ(own.at(static_cast<std::size_t>(place)), stretch.first + i);
      ASSERT_EQ(document_of(cu_seqlens, stretch.first + i), stretch.document);
      ++place;
    }
    const std::int64_t end = stretch.first + stretch.count;
    // As long as it can be.
    const bool goes_on = place < static_cast<std::int64_t>(own.size()) && own[static_cast<std::size_t>(place)] == end;
    ASSERT_FALSE(goes_on && document_of(cu_seqlens, end) == stretch.document);
    std::vector<std::int64_t> before, after;
    for (const TokenPlace& there : neighbours.before(s)) before.push_back(token_at(tokens, there));
    for (const TokenPlace& there : neighbours.after(s)) after.push_back(token_at(tokens, there));
    ASSERT_EQ(before, of_document(cu_seqlens, stretch.document, stretch.first - reach.before, stretch.first));
    ASSERT_EQ(after, of_document(cu_seqlens, stretch.document, end, end + reach.after));
  }
  ASSERT_EQ(place, static_cast<std::int64_t>(own.size()));
}

TEST(Neighbours, AreThoseOfPositionsInEveryLayout) {
  for (const auto& cu_seqlens : layout_cases::batches())
    for (int ranks = 1; ranks <= 8; ++ranks)
      for (const NamedHome& named : homes_of(cu_seqlens, ranks))
        for (const Reach& reach : {Reach{0, 0}, Reach{1, 0}, Reach{3, 2}, Reach{0, 50}}) {
          SCOPED_TRACE(fmt::format("{} over {} ranks, cu_seqlens [{}], {} before and {} after", named.name, ranks,
                                   fmt::join(cu_seqlens, ", "), reach.before, reach.after));
          const auto neighbours = find_neighbours(named.home, cu_seqlens, reach);
          const auto tokens = layout_cases::tokens_of(named.home);
          ASSERT_EQ(neighbours.size(), named.home.size());
          for (std::size_t rank = 0; rank < neighbours.size(); ++rank) {
            expect_rank(cu_seqlens, reach, tokens, rank, neighbours[rank]);
            if (::testing::Test::HasFatalFailure()) return;
          }
        }
}

// A short convolution of four over two documents, contiguous over three ranks of four tokens.
TEST(Neighbours, SayWhatAShortConvolutionNeeds) {
  const std::vector<std::int64_t> cu_seqlens = {0, 5, 5, 12};
  const auto neighbours = find_neighbours(contiguous_home({.cu_seqlens = cu_seqlens}, 3), cu_seqlens, {.before = 3});
  const auto before = [&](std::size_t rank, std::size_t stretch) {
    const auto places = neighbours[rank].before(stretch);
    return std::vector<TokenPlace>(places.begin(), places.end());
  };
  ASSERT_EQ(neighbours[1].stretches(), (std::vector<TokenStretch>{{0, 4, 0, 1}, {2, 5, 1, 3}}));
  EXPECT_EQ(before(0, 0), std::vector<TokenPlace>{});
  EXPECT_EQ(before(1, 0), (std::vector<TokenPlace>{{0, 1}, {0, 2}, {0, 3}}));
  EXPECT_EQ(before(1, 1), std::vector<TokenPlace>{});
  EXPECT_EQ(before(2, 0), (std::vector<TokenPlace>{{1, 1}, {1, 2}, {1, 3}}));
}

TEST(Neighbours, RefuseAHomeOfOtherDocuments) {
  const std::vector<std::int64_t> cu_seqlens = {0, 9};
  testing::expect_error(ErrorKind::kInternal, {"token 8 is owned by no rank"}, [&] {
    find_neighbours(striped_home({.cu_seqlens = {0, 8}}, 2), cu_seqlens, {.before = 1});
  });
}

}  // namespace
}  // namespace longspan
