#include "trainer/check/verdict.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace longspan {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Deviation deviation(const std::vector<float>& x, const std::vector<double>& expected) {
  return deviation_of(x, expected);
}

TEST(Verdict, RelativeErrorIsANormOverANorm) {
  EXPECT_DOUBLE_EQ(deviation({3, 5}, {3, 4}).relative, 1.0 / 5);
  EXPECT_EQ(deviation({3, 4}, {3, 4}).relative, 0);
}

TEST(Verdict, ErrorIsAbsoluteWhereAllZeroIsExpected) {
  EXPECT_DOUBLE_EQ(deviation({0.5f, 0}, {0, 0}).relative, 0.5);
  EXPECT_EQ(deviation({}, {}).relative, 0);
}

TEST(Verdict, InfinitiesAndNansCountByTheirPlacesOnly) {
  const Deviation same = deviation({-kInf, kNan, 2, kInf}, {-kInf, kNan, 2, kInf});
  EXPECT_TRUE(same.misplaced.empty()) << same.misplaced;
  EXPECT_EQ(same.relative, 0);
}

TEST(Verdict, MisplacedNansAndInfinitiesFailWhateverTheBound) {
  const std::pair<float, double> pairs[] = {{kNan, 1.0},  {1.0f, kNan},  {kInf, -kInf},
                                            {kInf, kNan}, {1.0f, -kInf}, {-kInf, 1.0}};
  for (const auto& [x, expected] : pairs) {
    const TensorVerdict verdict{"out", deviation({1, x}, {1, expected}), 1e9};
    EXPECT_FALSE(verdict.passes()) << x << " for " << expected;
    EXPECT_NE(verdict.deviation.misplaced.find("element 1"), std::string::npos) << verdict.deviation.misplaced;
  }
}

TEST(Verdict, PassesUpToItsBoundAndNotBeyond) {
  EXPECT_TRUE((TensorVerdict{"out", {1e-5, ""}, 1e-5}.passes()));
  EXPECT_FALSE((TensorVerdict{"out", {1.01e-5, ""}, 1e-5}.passes()));
  EXPECT_FALSE((TensorVerdict{"out", {std::nan(""), ""}, 1e-5}.passes()));
}

TEST(Verdict, TableNamesEachTensorWithItsVerdict) {
  const TensorVerdict verdicts[] = {{"out", {1e-7, ""}, 1e-5}, {"dq", {1e-3, ""}, 3e-5}};
  EXPECT_FALSE(all_pass(verdicts));
  const std::string table = table_of(verdicts);
  EXPECT_NE(table.find("out"), std::string::npos);
  EXPECT_NE(table.find("1.00e-03   3.00e-05  FAIL"), std::string::npos) << table;
}

}  // namespace
}  // namespace longspan
