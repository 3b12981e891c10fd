// Packed sequences joined, cut up over ranks and counted.
#include "trainer/loop/local_batch.h"

#include <gtest/gtest.h>

#include <map>

#include "parallel/context/planner.h"

namespace longspan {
namespace {

// Documents of these lengths; token t is 100 + t, its label 101 + t but for the last of a document.
PackedSequence sequence_of(const std::vector<std::int64_t>& lengths, std::int32_t first = 100) {
  PackedSequence s;
  s.cu_seqlens.push_back(0);
  for (const std::int64_t length : lengths) {
    for (std::int64_t i = 0; i < length; ++i) {
      const auto token = static_cast<std::int32_t>(first + static_cast<std::int32_t>(s.tokens.size()));
      s.tokens.push_back(token);
      s.labels.push_back(i + 1 < length ? token + 1 : -1);
    }
    s.cu_seqlens.push_back(static_cast<std::int64_t>(s.tokens.size()));
  }
  return s;
}

TEST(Join, KeepsDocumentsApart) {
  const std::vector<PackedSequence> both = {sequence_of({3, 0, 2}), sequence_of({4}, 200)};
  const PackedSequence joined = join(both);
  EXPECT_EQ(joined.cu_seqlens, (std::vector<std::int64_t>{0, 3, 3, 5, 9}));
  EXPECT_EQ(joined.tokens, (std::vector<std::int32_t>{100, 101, 102, 103, 104, 200, 201, 202, 203}));
  EXPECT_EQ(joined.labels.size(), joined.tokens.size());
  EXPECT_EQ(join({}).cu_seqlens, (std::vector<std::int64_t>{0}));
}

class EveryScheme : public testing::TestWithParam<const char*> {};

// Whatever the layout, every token arrives once, with its label and its position inside its document.
TEST_P(EveryScheme, EachTokenArrivesOnce) {
  for (const auto& lengths : std::vector<std::vector<std::int64_t>>{{1}, {7, 1, 0, 13}, {64}, {5, 5, 5}}) {
    const PackedSequence sequence = sequence_of(lengths);
    for (const int ranks : {1, 2, 3, 5}) {
      const ContextProblem problem{.cu_seqlens = sequence.cu_seqlens, .heads = 2, .kv_heads = 1};
      const ContextPlan plan = make_context_plan(GetParam(), problem, ranks);
      std::map<std::int32_t, std::pair<std::int32_t, std::int32_t>> seen;
      std::int64_t labels = 0;
      for (const auto& home : plan.home) {
        LocalBatch local(sequence, home);
        const MicroBatch batch = local.batch();
        labels += local.num_labels();
        for (std::int64_t i = 0; i < batch.tokens.size(0); ++i)
          ASSERT_TRUE(seen.try_emplace(batch.tokens.get<std::int32_t>()[i], batch.labels.get<std::int32_t>()[i],
                                       batch.positions.get<std::int32_t>()[i])
                          .second);
      }
      std::int64_t expected_labels = 0;
      ASSERT_EQ(seen.size(), sequence.tokens.size());
      for (std::size_t d = 0; d + 1 < sequence.cu_seqlens.size(); ++d)
        for (std::int64_t t = sequence.cu_seqlens[d]; t < sequence.cu_seqlens[d + 1]; ++t) {
          const auto [label, position] = seen.at(static_cast<std::int32_t>(100 + t));
          EXPECT_EQ(label, sequence.labels[static_cast<std::size_t>(t)]);
          EXPECT_EQ(position, t - sequence.cu_seqlens[d]);
          expected_labels += label >= 0 ? 1 : 0;
        }
      EXPECT_EQ(labels, expected_labels);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Names, EveryScheme, testing::Values("ring", "striped"));

}  // namespace
}  // namespace longspan
