// Plans of operators on GPUs: plain functions of sizes.
#include <gtest/gtest.h>

#include "kernels/cuda/element_rows.h"
#include "kernels/cuda/embedding_plan.h"
#include "kernels/cuda/plan.h"
#include "tests/support/expect_error.h"

namespace longspan::cuda {
namespace {

TEST(GridBlocks, AreNoMoreThanThereIsWorkAndNoMoreThanFit) {
  EXPECT_EQ(grid_blocks(0, 132, 8), 0u);
  EXPECT_EQ(grid_blocks(1, 132, 8), 1u);
  EXPECT_EQ(grid_blocks(1056, 132, 8), 1056u);
  EXPECT_EQ(grid_blocks(std::int64_t{1} << 40, 132, 8), 1056u);
}

TEST(SortPlan, RangesCoverTheVocabularyOnce) {
  for (const std::int64_t vocab : {1, 2, 63, 64, 65, 259, 16384, 16385, 50257, 128256, 524288, 524289, 1000003}) {
    const SortPlan plan = plan_sort(1000, vocab);
    EXPECT_GE(std::int64_t{plan.range} * plan.blocks, vocab);
    EXPECT_LT(std::int64_t{plan.range} * (plan.blocks - 1), vocab) << "the last block has none";
    EXPECT_LE(plan.range, kMostRange);
    EXPECT_EQ(plan.vocab, vocab);
  }
}

TEST(SortPlan, NamesWhatIsTooMuch) {
  testing::expect_error(ErrorKind::kUnsupported, {"embedding_backward", "3000000000 tokens"},
                        [] { plan_sort(3'000'000'000, 100); });
}

}  // namespace
}  // namespace longspan::cuda
