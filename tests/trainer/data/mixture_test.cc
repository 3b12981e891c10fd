// Mixture: exact counts, weights approached in every stretch, and draws that need no history.
#include "trainer/data/mixture.h"

#include <gtest/gtest.h>

#include <cmath>

namespace longspan {
namespace {

TEST(Mixture, CountsWhatCameBefore) {
  for (const std::vector<double>& weights :
       {std::vector<double>{1}, {1, 1}, {0.7, 0.2, 0.1}, {1e6, 1, 3, 1e-9}, {5, 4, 3, 2, 1}}) {
    for (const std::uint64_t seed : {0ULL, 1ULL, 0xFFFFFFFFFFFFFFFFULL}) {
      const Mixture mixture(weights, seed);
      std::vector<std::int64_t> counts(weights.size(), 0);
      for (std::int64_t i = 0; i < 3000; ++i) {
        const Mixture::Draw draw = mixture.at(i);
        ASSERT_LT(draw.source, weights.size());
        ASSERT_EQ(draw.index, counts[draw.source]++) << i;
      }
    }
  }
}

TEST(Mixture, ApproachesWeightsInEveryStretch) {
  const std::vector<double> weights = {0.55, 0.3, 0.15};
  const Mixture mixture(weights, 17);
  for (const std::int64_t begin : {std::int64_t{0}, std::int64_t{12345}, std::int64_t{1} << 40}) {
    for (const std::int64_t length : {10, 100, 1000, 10000}) {
      std::vector<double> seen(3, 0);
      for (std::int64_t i = begin; i < begin + length; ++i) seen[mixture.at(i).source] += 1;
      for (std::size_t s = 0; s < 3; ++s) {
        EXPECT_LE(std::abs(seen[s] - weights[s] * static_cast<double>(length)), 4)
            << begin << " " << length << " " << s;
      }
    }
  }
}

TEST(Mixture, ScaleOfWeightsDoesNotMatterAndSeedsDo) {
  const Mixture a({1, 3}, 5), b({250, 750}, 5), c({1, 3}, 6000000000);
  int differ = 0;
  for (std::int64_t i = 0; i < 500; ++i) {
    EXPECT_EQ(a.at(i).source, b.at(i).source);
    differ += a.at(i).source != c.at(i).source;
  }
  EXPECT_GT(differ, 20);
}

}  // namespace
}  // namespace longspan
