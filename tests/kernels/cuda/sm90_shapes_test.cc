// How blocks of the attention kernels for Hopper share their items, and what exponentials are measured from.
#include "kernels/cuda/attention/sm90_shapes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "kernels/cuda/attention/softmax_origin.h"

namespace longspan::cuda {
namespace {

TEST(Sm90Shapes, RoundsTakeEveryItemOnce) {
  for (const int blocks : {1, 4, 7})
    for (const int items : {0, 1, 6, 7, 8, 29}) {
      std::multiset<int> taken;
      for (int block = 0; block < blocks; ++block)
        for (int round = 0; round * blocks < items; ++round)
          if (const int at = sm90::item_of_round(round, block, blocks); at < items) taken.insert(at);
      EXPECT_EQ(taken.size(), static_cast<std::size_t>(items));
      EXPECT_EQ(std::set<int>(taken.begin(), taken.end()).size(), taken.size());
    }
}

TEST(SoftmaxOrigin, LiesALittleAboveTheMaximumOnAGridOfWholePowers) {
  EXPECT_EQ(origin_of(3.25f, SoftmaxOrigin::kMaximum), 3.25f);
  for (float maximum = -40; maximum < 40; maximum += 0.0371f) {
    const float origin = origin_of(maximum, SoftmaxOrigin::kBelowOne);
    EXPECT_GE(origin - maximum, kOriginMargin - 1e-5f);
    EXPECT_LE(origin - maximum, kOriginMargin + 1 + 1e-5f);
    const float steps = origin - kOriginPoint;
    EXPECT_NEAR(steps, std::round(steps), 1e-5f);
  }
  EXPECT_NEAR(std::exp2(-origin_of(0, SoftmaxOrigin::kBelowOne)), 81.0 / 128, 1e-6);
}

}  // namespace
}  // namespace longspan::cuda
