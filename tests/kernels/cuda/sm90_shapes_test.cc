// How blocks of the attention kernels for Hopper share their items.
#include "kernels/cuda/attention/sm90_shapes.h"

#include <gtest/gtest.h>

#include <set>

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

}  // namespace
}  // namespace longspan::cuda
