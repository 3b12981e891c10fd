// The nearest name: distances by hand, and silence where nothing is near.
#include "trainer/config/nearest_name.h"

#include <gtest/gtest.h>

#include <vector>

namespace longspan {
namespace {

TEST(EditDistance, ByHand) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("abc", "abc"), 0u);
  EXPECT_EQ(edit_distance("hiden", "hidden"), 1u);
  EXPECT_EQ(edit_distance("laeyrs", "layers"), 1u) << "neighbours swapped";
  EXPECT_EQ(edit_distance("haeds", "heads"), 1u) << "neighbours swapped";
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("ca", "abc"), 3u) << "restricted: no text is edited twice";
}

TEST(NearestName, FindsWhatWasMeant) {
  const std::vector<std::string> names = {"run", "run.steps", "model", "model.hidden", "optimizer", "optimizer.lr"};
  EXPECT_EQ(nearest_name("model.hiden", names), "model.hidden");
  EXPECT_EQ(nearest_name("optimiser.lr", names), "optimizer.lr");
  EXPECT_EQ(nearest_name("modle", names), "model");
  EXPECT_EQ(nearest_name("model.lr", names), "optimizer.lr") << "under the wrong section";
  EXPECT_EQ(nearest_name("steps", names), "run.steps") << "under none";
  EXPECT_EQ(nearest_name("model.dropout_probability", names), "");
  EXPECT_EQ(nearest_name("x", {}), "");
}

}  // namespace
}  // namespace longspan
