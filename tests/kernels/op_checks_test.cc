// What the public functions refuse, special values, and what the hardware line says.
#include <gtest/gtest.h>

#include "kernels/ops/layer_ops.h"
#include "kernels/ops/matmul.h"
#include "tests/support/expect_error.h"
#include "tests/support/test_tensor.h"

namespace longspan::testing {
namespace {

constexpr auto kF32 = DType::kF32;
constexpr auto kBF16 = DType::kBF16;

TEST(OpChecks, MatmulNamesShapesThatDoNotMeet) {
  const TestTensor a(kF32, {3, 4}), b(kF32, {5, 6}), half(kBF16, {4, 6}), c(kF32, {3, 6});
  const TestExec exec;
  expect_error(ErrorKind::kInternal, {"matmul", "fp32[3, 4]", "fp32[5, 6]", "fp32[3, 6]"},
               [&] { matmul(exec, {.a = a, .b = b, .c = c}); });
  expect_error(ErrorKind::kInternal, {"dtype", "bf16[4, 6]"}, [&] { matmul(exec, {.a = a, .b = half, .c = c}); });
  expect_error(ErrorKind::kInternal, {"share memory"}, [&] {
    matmul(exec, {.a = c, .b = Tensor(b.view().data, kF32, {6, 6}), .c = c});
  });
}

TEST(OpChecks, MatmulRefusesAResidualThatDoesNotFit) {
  const TestTensor a(kF32, {3, 4}), b(kF32, {4, 6}), c(kF32, {3, 6}), small(kF32, {3, 5}), half(kBF16, {3, 6});
  for (const Tensor& wrong : {small.view(), half.view()})
    expect_error(ErrorKind::kInternal, {"matmul", "residual", wrong.describe()},
                 [&] { matmul(TestExec(), {.a = a, .b = b, .c = c, .residual = wrong}); });
  expect_error(ErrorKind::kInternal, {"share memory", "residual"},
               [&] { matmul(TestExec(), {.a = a, .b = b, .c = c, .residual = c}); });
  const TestTensor other(kF32, {3, 6});
  expect_error(ErrorKind::kInternal, {"residual", "accumulated"}, [&] {
    matmul(TestExec(), {.a = a, .b = b, .c = c, .residual = other, .mode = WriteMode::kAccumulate});
  });
}

TEST(OpChecks, MatmulRefusesColumnsWithGaps) {
  const TestTensor wide(kF32, {4, 8}), b(kF32, {4, 6}), c(kF32, {4, 6});
  Tensor a = wide.view().narrow(1, 0, 4);
  a.stride[1] = 2;
  expect_error(ErrorKind::kInternal, {"a fp32[4, 4] strides [8, 2]", "contiguous in its last dimension"},
               [&] { matmul(TestExec(), {.a = a, .b = b, .c = c}); });
}

TEST(OpChecks, TokensOutsideTheTableAreNamed) {
  TestTensor tokens(DType::kI32, {4}), table(kF32, {10, 3}), out(kF32, {4, 3});
  for (const double wrong : {-1.0, 10.0}) {
    tokens.fill({0, 9, wrong, 3});
    expect_error(ErrorKind::kData, {"embedding_forward", "place 2 of 4", "0 … 9", "tokenizer"},
                 [&] { embedding_forward(TestExec(), tokens, table, out); });
    expect_error(ErrorKind::kData, {"embedding_backward", "place 2 of 4"},
                 [&] { embedding_backward(TestExec(), tokens, out, table); });
  }
}

TEST(OpChecks, LayersNameTheOperandThatDoesNotFit) {
  const TestTensor x(kF32, {4, 6}), narrow(kF32, {4, 5}), half(kBF16, {4, 6}), weight(kF32, {6}), rstd(kF32, {3});
  const TestExec exec;
  expect_error(ErrorKind::kInternal, {"rms_norm_forward", "rstd is fp32[3]", "fp32[4]"},
               [&] { rms_norm_forward(exec, {.x = x, .weight = weight, .y = x, .rstd = rstd}); });
  expect_error(ErrorKind::kInternal, {"swiglu_forward", "up is fp32[4, 5]", "fp32[4, 6]"},
               [&] { swiglu_forward(exec, x, narrow, x); });
  expect_error(ErrorKind::kInternal, {"add", "b is bf16[4, 6]"}, [&] { add(exec, x, half, x); });
  expect_error(ErrorKind::kInternal, {"add_row_sum", "out is fp32[6]", "fp32[5]"},
               [&] { add_row_sum(exec, narrow, weight); });
  const TestTensor odd(kF32, {2, 1, 5}), angles(kF32, {2, 2});
  expect_error(ErrorKind::kInternal, {"rotary", "odd"},
               [&] { rotary(exec, odd, angles, angles, RotaryDirection::kForward); });
}

TEST(OpChecks, OperandsElsewhereAreRefused) {
  const TestTensor x(kF32, {4});
  Tensor elsewhere = x;
  elsewhere.device = Device::kCuda;
  expect_error(ErrorKind::kInternal, {"add", "cuda", "cpu"}, [&] { add(TestExec(), x, elsewhere, x); });
}

TEST(SpecialValues, CastToBf16IsTheTypesOwnRounding) {
  std::vector<float> values;
  std::mt19937 generator(1);
  for (int i = 0; i < 10007; ++i) values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(generator())));
  values.insert(values.end(), {0.0f, -0.0f, std::numeric_limits<float>::infinity(), std::bit_cast<float>(0x7f800001u)});
  const auto count = static_cast<std::int64_t>(values.size());
  const TestTensor out(kBF16, {count});
  cast(TestExec(), Tensor(values.data(), kF32, {count}), out);
  for (std::int64_t i = 0; i < count; ++i) EXPECT_EQ(out.view().get<bf16>()[i].bits, bf16(values[i]).bits) << values[i];
}

TEST(SpecialValues, SwigluKeepsNaNAndSaturates) {
  TestTensor gate(kF32, {1, 5}), up(kF32, {1, 5}), out(kF32, {1, 5});
  gate.fill({std::nan(""), 1e30, -1e30, 200, -200});
  up.fill({1, 1, 1, 2, 2});
  swiglu_forward(TestExec(), gate, up, out);
  const std::vector<double> y = out.values();
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ(y[1], static_cast<double>(1e30f));
  EXPECT_EQ(y[2], 0);
  EXPECT_EQ(y[3], 400);
  EXPECT_NEAR(y[4], 0, 1e-30);
}

TEST(SpecialValues, MatmulOverwritesWhateverWasThere) {
  TestTensor a(kF32, {2, 3}), b(kF32, {3, 2}), c(kF32, {2, 2});
  a.fill({1, 2, 3, 4, 5, 6});
  b.fill({1, 0, 0, 1, 1, 1});
  c.fill(std::vector<double>(4, std::nan("")));
  matmul(TestExec(), {.a = a, .b = b, .c = c});
  EXPECT_EQ(c.values(), (std::vector<double>{4, 5, 10, 11}));
}

TEST(Matmul, DescribesTheHardware) {
  const std::string line = describe_matmul_hardware();
  EXPECT_NE(line.find("fp32 products: oneDNN"), std::string::npos) << line;
  EXPECT_NE(line.find("bf16 products: oneDNN"), std::string::npos) << line;
  EXPECT_EQ(line.find('\n'), std::string::npos) << line;
}

}  // namespace
}  // namespace longspan::testing
