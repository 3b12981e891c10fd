// The generator against published words, and its normals against the distribution they should have.
#include "models/random_normal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace longspan {
namespace {

TEST(Philox, PublishedWords) {  // known answers of Salmon et al. 2011's Random123
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(FillNormal, FollowsTheNormalDistribution) {
  std::vector<float> z(200'000);
  fill_normal(42, 1, z);
  const double n = static_cast<double>(z.size());
  double mean = 0, square = 0, fourth = 0;
  for (const double x : z) {
    mean += x / n;
    square += x * x / n;
    fourth += x * x * x * x / n;
  }
  // Five standard errors each: 1, sqrt(2), sqrt(96) over sqrt(n).
  EXPECT_NEAR(mean, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(square, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth, 3, 5 * std::sqrt(96 / n));
  // Kolmogorov & Smirnov: the largest gap to the distribution function, 1.95 / sqrt(n) in one case of a thousand.
  std::sort(z.begin(), z.end());
  double gap = 0;
  for (std::size_t i = 0; i < z.size(); ++i)
    gap = std::max(gap, std::abs(0.5 * std::erfc(-z[i] / std::sqrt(2.0)) - static_cast<double>(i) / n));
  EXPECT_LT(gap, 1.95 / std::sqrt(n));
}

TEST(FillNormal, AnElementDependsOnKeyAndIndexOnly) {
  std::vector<float> small(5), large(64), other(64);
  fill_normal(3, 0.5, small);
  fill_normal(3, 0.5, large);
  fill_normal(4, 0.5, other);
  EXPECT_TRUE(std::equal(small.begin(), small.end(), large.begin()));
  int same = 0;
  for (std::size_t i = 0; i < large.size(); ++i) same += large[i] == other[i];
  EXPECT_EQ(same, 0);
}

TEST(FillNormal, NoElements) {
  fill_normal(1, 1, {});
}

}  // namespace
}  // namespace longspan
