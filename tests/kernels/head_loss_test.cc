// The head's loss on inputs that a training run may well meet.
#include <gtest/gtest.h>

#include "kernels/ops/training_ops.h"
#include "tests/support/expect_error.h"
#include "tests/support/test_tensor.h"

namespace longspan::testing {
namespace {

// One operand set of small sizes; logits are hidden * weight^T.
struct Head {
  static constexpr std::int64_t kTokens = 6, kWidth = 4, kVocab = 5;

  TestTensor hidden{DType::kF32, {kTokens, kWidth}};
  TestTensor weight{DType::kF32, {kVocab, kWidth}};
  TestTensor labels{DType::kI32, {kTokens}};
  TestTensor dhidden{DType::kF32, {kTokens, kWidth}};
  TestTensor dweight{DType::kF32, {kVocab, kWidth}};
  TestTensor totals{DType::kF64, {2}};
  TestExec exec;

  Head() {
    hidden.fill_normal(1);
    weight.fill_normal(2);
    labels.fill({0, 1, 2, 3, 4, 0});
    dweight.fill(std::vector<double>(kVocab * kWidth, 0.0));
    totals.fill({0, 0});
  }
  HeadLoss args() {
    return {.hidden = hidden,
            .weight = weight,
            .labels = labels,
            .grad_scale = 0.5f,
            .dhidden = dhidden,
            .dweight = dweight,
            .totals = totals,
            .chunk_tokens = 4};
  }
  // The sum of losses of one more call.
  double run() {
    head_loss(exec, args());
    return get_value(totals, 0);
  }
};

TEST(HeadLoss, WithoutLabelsThereIsNeitherLossNorGradient) {
  Head head;
  head.labels.fill(std::vector<double>(Head::kTokens, -1));
  EXPECT_EQ(head.run(), 0);
  EXPECT_EQ(get_value(head.totals, 1), 0);
  EXPECT_EQ(head.dhidden.values(), std::vector<double>(Head::kTokens * Head::kWidth, 0.0));
  EXPECT_EQ(head.dweight.values(), std::vector<double>(Head::kVocab * Head::kWidth, 0.0));
}

TEST(HeadLoss, TokensWithoutLabelGetNoGradient) {
  Head head;
  head.labels.fill({-1, 1, -1, -1, -1, -1});
  head.run();
  EXPECT_EQ(get_value(head.totals, 1), 1);
  for (std::int64_t i = 0; i < Head::kTokens * Head::kWidth; ++i)
    EXPECT_EQ(get_value(head.dhidden, i) != 0, i / Head::kWidth == 1) << i;
}

TEST(HeadLoss, LabelsOutsideTheVocabularyAreNamed) {
  for (const double wrong : {-2.0, 5.0}) {
    Head head;
    head.labels.fill({0, 1, 2, wrong, 4, 0});
    expect_error(ErrorKind::kData, {"head_loss", fmt::format("label {}", wrong), "place 3 of 6", "-1 … 4"},
                 [&] { head.run(); });
  }
}

// Logits of +-1e4: the exponents of all but the largest underflow, the loss is their plain difference.
TEST(HeadLoss, LargeLogitsStayFinite) {
  Head head;
  head.hidden.fill(std::vector<double>(Head::kTokens * Head::kWidth, 0.0));
  head.weight.fill(std::vector<double>(Head::kVocab * Head::kWidth, 0.0));
  for (std::int64_t t = 0; t < Head::kTokens; ++t) set_value(head.hidden, t * Head::kWidth, 1e4);
  for (std::int64_t j = 0; j < Head::kVocab; ++j) set_value(head.weight, j * Head::kWidth, j == 2 ? 1 : -1);
  EXPECT_DOUBLE_EQ(head.run(), 5 * 2e4);  // all labels but one name a logit 2e4 below the peak
  for (const double value : head.dhidden.values()) EXPECT_TRUE(std::isfinite(value));
  // softmax is (0, 0, 1, 0, 0): a token whose label is 2 has no gradient.
  for (std::int64_t e = 0; e < Head::kWidth; ++e) EXPECT_EQ(get_value(head.dhidden, 2 * Head::kWidth + e), 0);
}

TEST(HeadLoss, EqualLogitsGiveTheLogarithmOfTheVocabulary) {
  Head head;
  head.hidden.fill(std::vector<double>(Head::kTokens * Head::kWidth, 0.0));
  EXPECT_NEAR(head.run(), Head::kTokens * std::log(5.0), 1e-6);
}

TEST(HeadLoss, NaNAndInfinityShowInTheLoss) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()})
    for (const std::int64_t place : {std::int64_t{0}, Head::kTokens * Head::kWidth - 1}) {
      Head head;
      set_value(head.hidden, place, bad);
      EXPECT_TRUE(std::isnan(head.run())) << bad << " at " << place;
    }
}

TEST(HeadLoss, ChunksDoNotChangeTheResult) {
  Head head, whole;
  const double in_chunks = head.run();
  HeadLoss args = whole.args();
  args.chunk_tokens = 512;
  head_loss(whole.exec, args);
  EXPECT_NEAR(in_chunks, get_value(whole.totals, 0), 1e-6);
  EXPECT_LT(relative_error(head.dhidden.values(), whole.dhidden.values()), 1e-6);
  EXPECT_LT(relative_error(head.dweight.values(), whole.dweight.values()), 1e-6);
}

TEST(HeadLoss, AddsToItsTotals) {
  Head once, twice;
  const double loss = once.run();
  twice.run();
  EXPECT_EQ(twice.run(), loss + loss);
  EXPECT_EQ(get_value(twice.totals, 1), 2 * Head::kTokens);
}

TEST(HeadLoss, GradientsComeTogetherOrNotAtAll) {
  Head head;
  HeadLoss args = head.args();
  args.dweight = Tensor();
  expect_error(ErrorKind::kInternal, {"dhidden fp32[6, 4]", "dweight absent"}, [&] { head_loss(head.exec, args); });
}

}  // namespace
}  // namespace longspan::testing
