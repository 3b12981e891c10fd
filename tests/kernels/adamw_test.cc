// AdamW over several steps against the formula written out in double.
#include <gtest/gtest.h>

#include <bit>
#include <numeric>

#include "kernels/ops/training_ops.h"
#include "kernels/reference/stochastic_rounding.h"
#include "tests/support/expect_error.h"
#include "tests/support/test_tensor.h"

namespace longspan::testing {
namespace {

constexpr std::int64_t kCount = 1009;

TEST(AdamW, FollowsTheFormulaForManySteps) {
  TestTensor weight(DType::kF32, {kCount}), grad(DType::kF32, {kCount}), m(DType::kF32, {kCount}),
      v(DType::kF32, {kCount}), copy(DType::kBF16, {kCount});
  weight.fill_normal(1);
  m.fill(std::vector<double>(kCount, 0.0));
  v.fill(std::vector<double>(kCount, 0.0));
  std::vector<double> w = weight.values(), first(kCount), second(kCount);
  const double beta1 = 0.9f, beta2 = 0.95f, lr = 0.003f, eps = 1e-8f, decay = 0.1f, scale = 0.25f;
  const TestExec exec(2);
  for (std::int64_t step = 1; step <= 20; ++step) {
    grad.fill_normal(100 + static_cast<std::uint64_t>(step));
    adamw(exec, {.weight = weight,
                 .grad = grad,
                 .m = m,
                 .v = v,
                 .compute_copy = copy,
                 .lr = 0.003f,
                 .beta1 = 0.9f,
                 .beta2 = 0.95f,
                 .eps = 1e-8f,
                 .weight_decay = 0.1f,
                 .grad_scale = 0.25f,
                 .step = step});
    for (std::int64_t i = 0; i < kCount; ++i) {
      const double g = get_value(grad, i) * scale;
      first[i] = beta1 * first[i] + (1 - beta1) * g;
      second[i] = beta2 * second[i] + (1 - beta2) * g * g;
      const double mean = first[i] / (1 - std::pow(beta1, step)), square = second[i] / (1 - std::pow(beta2, step));
      w[i] -= lr * (mean / (std::sqrt(square) + eps) + decay * w[i]);
    }
  }
  EXPECT_LT(relative_error(weight.values(), w), 1e-6);
  EXPECT_LT(relative_error(m.values(), first), 1e-6);
  EXPECT_LT(relative_error(v.values(), second), 1e-6);
  for (std::int64_t i = 0; i < kCount; ++i)
    EXPECT_EQ(copy.view().get<bf16>()[i].bits, bf16(weight.view().get<float>()[i]).bits) << i;
}

TEST(AdamW, WithoutGradientOnlyDecays) {
  TestTensor weight(DType::kF32, {3}), zero(DType::kF32, {3}), m(DType::kF32, {3}), v(DType::kF32, {3});
  weight.fill({1, -2, 4});
  for (TestTensor* tensor : {&zero, &m, &v}) tensor->fill({0, 0, 0});
  adamw(TestExec(), {.weight = weight, .grad = zero, .m = m, .v = v, .lr = 0.5f, .weight_decay = 0.5f});
  EXPECT_EQ(weight.values(), (std::vector<double>{0.75, -1.5, 3}));
}

// A weight between two bf16 values, many times over: the mean of its copies is the weight, within four standard
// deviations of a mean of so many, which rounding to the nearest is not.
TEST(AdamW, CopiesRoundedAtRandomAreRightOnAverage) {
  constexpr std::int64_t kMany = 100'000;
  TestTensor weight(DType::kF32, {kMany}), zero(DType::kF32, {kMany}), m(DType::kF32, {kMany}), v(DType::kF32, {kMany}),
      copy(DType::kBF16, {kMany}), again(DType::kBF16, {kMany}), other(DType::kBF16, {kMany});
  constexpr double kStep = 1.0 / 128, kWay = 0.3;  // from 1 to the next bf16
  for (const double sign : {1.0, -1.0}) {
    weight.fill(std::vector<double>(kMany, sign * (1 + kWay * kStep)));
    for (TestTensor* tensor : {&zero, &m, &v}) tensor->fill(std::vector<double>(kMany, 0.0));
    const auto update = [&](const Tensor& to, std::uint64_t seed) {
      adamw(TestExec(2), {.weight = weight,
                          .grad = zero,
                          .m = m,
                          .v = v,
                          .compute_copy = to,
                          .copy_rounding = CopyRounding::kStochastic,
                          .rounding_seed = seed});
    };
    update(copy, 1);
    update(again, 1);
    update(other, 2);
    const std::vector<double> copies = copy.values();
    const double mean = std::accumulate(copies.begin(), copies.end(), 0.0) / kMany;
    const double deviation = kStep * std::sqrt(kWay * (1 - kWay) / kMany);
    EXPECT_NEAR(mean, sign * (1 + kWay * kStep), 4 * deviation);
    for (const double value : copies) EXPECT_TRUE(value == sign || value == sign * (1 + kStep)) << value;
    EXPECT_EQ(copies, again.values());
    EXPECT_NE(copies, other.values());
  }
}

TEST(RoundStochastically, KeepsWhatIsExactAndWhatIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < 50; ++i) {
    for (const float exact : {-1.5f, 0.0f, infinity, -infinity})
      EXPECT_EQ(static_cast<float>(reference::round_stochastically(exact, 7, i)), exact);
    for (const std::uint32_t bits : {0x7f800001u, 0xffc00000u, 0x7fffffffu})
      EXPECT_TRUE(std::isnan(static_cast<float>(reference::round_stochastically(std::bit_cast<float>(bits), 7, i))));
  }
}

TEST(AdamW, RefusesOperandsThatDoNotFit) {
  TestTensor a(DType::kF32, {4}), b(DType::kF32, {5}), half(DType::kBF16, {4});
  const TestExec exec;
  expect_error(ErrorKind::kInternal, {"adamw", "m fp32[5]"},
               [&] { adamw(exec, {.weight = a, .grad = a, .m = b, .v = a}); });
  expect_error(ErrorKind::kInternal, {"grad", "bf16[4]", "fp32"},
               [&] { adamw(exec, {.weight = a, .grad = half, .m = a, .v = a}); });
  expect_error(ErrorKind::kInternal, {"step 0"},
               [&] { adamw(exec, {.weight = a, .grad = a, .m = a, .v = a, .step = 0}); });
}

TEST(SumOfSquares, ShowsNaNAndInfinity) {
  TestTensor x(DType::kF32, {50000});
  x.fill_normal(1);
  const auto sum = [&] {
    TestTensor out(DType::kF64, {1});
    out.fill({0});
    sum_of_squares(TestExec(2), x, out);
    return get_value(out, 0);
  };
  EXPECT_TRUE(std::isfinite(sum()));
  set_value(x, 49999, std::numeric_limits<double>::infinity());
  EXPECT_EQ(sum(), std::numeric_limits<double>::infinity());
  set_value(x, 7, std::nan(""));
  EXPECT_TRUE(std::isnan(sum()));
}

}  // namespace
}  // namespace longspan::testing
