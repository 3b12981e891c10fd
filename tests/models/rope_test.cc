// Rotary frequencies against values computed elsewhere and against a second derivation.
#include "models/rope.h"

#include <gtest/gtest.h>

#include "tests/models/reference_rope.h"

namespace longspan {
namespace {

struct Expected {
  std::size_t pair;
  double inverse;
};

void expect_frequencies(const RopeFrequencies& rope, const std::vector<Expected>& expected) {
  for (const auto& [pair, inverse] : expected) EXPECT_NEAR(rope.inverse.at(pair), inverse, 1e-7 * inverse) << pair;
}

// The literals were computed in double by another program from the published formulas.

TEST(RopeFrequencies, Plain) {
  const RopeFrequencies rope = rope_frequencies(8, 500000, {});
  ASSERT_EQ(rope.inverse.size(), 4u);
  expect_frequencies(rope, {{0, 1.0}, {1, 0.03760603093086393}, {2, 0.001414213562373095}, {3, 5.318295896944988e-05}});
  EXPECT_EQ(rope.attention_factor, 1);
  EXPECT_EQ(rope_frequencies(2, 10000, {}).inverse, std::vector<float>{1});
}

TEST(RopeFrequencies, Llama31) {
  const RopeScaling scaling{.kind = RopeScalingKind::kLlama3, .factor = 8, .original_length = 8192};
  const RopeFrequencies rope = rope_frequencies(128, 500000, scaling);
  ASSERT_EQ(rope.inverse.size(), 64u);
  expect_frequencies(rope, {{0, 1.0},
                            {1, 0.8146172338565447},
                            {28, 0.003211445994752591},
                            {29, 0.002166570763503359},
                            {30, 0.0013718935677611381},
                            {32, 0.0005248461609929547},
                            {34, 0.0001785078127679964},
                            {35, 9.556212353964683e-05},
                            {63, 3.068925988914511e-07}});
  EXPECT_EQ(rope.attention_factor, 1);
}

TEST(RopeFrequencies, YarnOfA4KModelStretchedSixteenfold) {
  RopeScaling scaling{.kind = RopeScalingKind::kYarn, .factor = 16, .original_length = 4096};
  const RopeFrequencies rope = rope_frequencies(64, 10000, scaling);
  expect_frequencies(rope, {{0, 1.0},
                            {1, 0.7498942093324559},
                            {10, 0.05623413251903491},
                            {11, 0.039128569789286714},
                            {16, 0.005673076923076923},
                            {20, 0.0008817889629315672},
                            {22, 0.00023938376673600874},
                            {23, 8.334508951020775e-05},
                            {31, 8.334508951020775e-06}});
  EXPECT_FLOAT_EQ(rope.attention_factor, 1.2772588722239782f);
  scaling.attention_factor = 1.5;
  EXPECT_EQ(rope_frequencies(64, 10000, scaling).attention_factor, 1.5f);
}

TEST(RopeFrequencies, NtkLeavesTheHighestAndDividesTheLowest) {
  const RopeFrequencies rope = rope_frequencies(64, 10000, {.kind = RopeScalingKind::kNtk, .factor = 8});
  expect_frequencies(rope,
                     {{0, 1.0}, {1, 0.7012422344790011}, {15, 0.004875520356180659}, {31, 1.6669017902041553e-05}});
  EXPECT_FLOAT_EQ(rope.inverse[31], rope_frequencies(64, 10000, {}).inverse[31] / 8);
}

TEST(RopeFrequencies, AgreeWithTheSecondDerivation) {
  for (const RopeScalingKind kind : {RopeScalingKind::kNone, RopeScalingKind::kLinear, RopeScalingKind::kNtk,
                                     RopeScalingKind::kYarn, RopeScalingKind::kLlama3})
    for (const int head_dim : {4, 16, 80, 128})
      for (const double theta : {10000.0, 1e6})
        for (const std::int64_t length : {64, 2048, 32768}) {
          const RopeScaling scaling{.kind = kind, .factor = 5, .original_length = length};
          const RopeFrequencies rope = rope_frequencies(head_dim, theta, scaling);
          const test::ReferenceRope expected = test::reference_rope(head_dim, theta, scaling);
          ASSERT_EQ(rope.inverse.size(), expected.inverse.size());
          for (std::size_t i = 0; i < rope.inverse.size(); ++i)
            EXPECT_NEAR(rope.inverse[i], expected.inverse[i], 1e-7 * expected.inverse[i])
                << static_cast<int>(kind) << " " << head_dim << " " << theta << " " << length << " " << i;
          EXPECT_FLOAT_EQ(rope.attention_factor, static_cast<float>(expected.attention_factor));
        }
}

TEST(RopeFrequencies, AFactorOfOneChangesNothing) {
  const std::vector<float> plain = rope_frequencies(32, 10000, {}).inverse;
  for (const RopeScalingKind kind : {RopeScalingKind::kLinear, RopeScalingKind::kNtk})
    EXPECT_EQ(rope_frequencies(32, 10000, {.kind = kind}).inverse, plain);
  for (const RopeScalingKind kind : {RopeScalingKind::kYarn, RopeScalingKind::kLlama3}) {
    const RopeFrequencies rope = rope_frequencies(32, 10000, {.kind = kind});
    for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(rope.inverse[i], plain[i]);
    EXPECT_EQ(rope.attention_factor, 1);
  }
}

TEST(RopeFrequencies, YarnWithoutRoomForARampStaysFinite) {
  for (const std::int64_t length : {1, 3, 1 << 30}) {
    const RopeFrequencies rope =
        rope_frequencies(8, 10000, {.kind = RopeScalingKind::kYarn, .factor = 4, .original_length = length});
    for (const float frequency : rope.inverse) {
      EXPECT_GT(frequency, 0);
      EXPECT_LE(frequency, 1);
    }
  }
}

}  // namespace
}  // namespace longspan
