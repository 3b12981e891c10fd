// Rows as bytes and back: the bound that the header promises, on rows of every size, and faults that stay visible.
#include "kernels/ops/row_codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace longspan {
namespace {

struct Coded {
  std::vector<std::int8_t> codes;
  std::vector<float> scale, decoded;
};

// Rows of `size` numbers, heads rows a token.
Coded round_trip(std::vector<float>& values, std::int64_t heads, std::int64_t size, int num_threads = 1) {
  const std::int64_t n = static_cast<std::int64_t>(values.size()) / (heads * size);
  Coded coded{std::vector<std::int8_t>(values.size()), std::vector<float>(n * heads),
              std::vector<float>(values.size())};
  const Tensor codes(coded.codes.data(), DType::kI8, {n, heads, size});
  const Tensor scale(coded.scale.data(), DType::kF32, {n, heads});
  const Exec exec{.num_threads = num_threads};
  encode_rows(exec, Tensor(values.data(), DType::kF32, {n, heads, size}), codes, scale);
  decode_rows(exec, codes, scale, Tensor(coded.decoded.data(), DType::kF32, {n, heads, size}));
  return coded;
}

TEST(RowCodec, KeepsWithinHalfAStep) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const std::int64_t size : {1, 7, 64, 129})
    for (const float magnitude : {1e-30f, 1e-3f, 1.0f, 1e30f}) {
      std::vector<float> values(5 * 3 * size);
      for (float& value : values) value = magnitude * normal(random);
      const Coded coded = round_trip(values, 3, size);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float step = coded.scale[i / static_cast<std::size_t>(size)];
        EXPECT_LE(std::abs(coded.decoded[i] - values[i]), step / 2 * 1.0001f) << size << " " << magnitude;
        EXPECT_LE(std::abs(coded.codes[i]), 127);
      }
    }
}

TEST(RowCodec, RowsAreAlone) {
  // A large row beside a small one and a row of zeros.
  std::vector<float> values = {1000, -500, 0.001f, 0.0005f, 0, 0};
  const Coded coded = round_trip(values, 1, 2);
  EXPECT_FLOAT_EQ(coded.decoded[0], 1000);
  EXPECT_NEAR(coded.decoded[2], 0.001, 1e-6);
  EXPECT_NEAR(coded.decoded[3], 0.0005, 5e-6);
  EXPECT_EQ(coded.scale[2], 0);
  EXPECT_EQ(coded.decoded[4], 0);
}

TEST(RowCodec, FaultsStayVisible) {
  for (const float fault : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    std::vector<float> values = {1, fault, 3, 4, 5, 6};
    const Coded coded = round_trip(values, 1, 3);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::isnan(coded.decoded[i]));
    for (int i = 3; i < 6; ++i) EXPECT_FALSE(std::isnan(coded.decoded[i]));
  }
}

TEST(RowCodec, ThreadsDoNotMatterAndBf16IsRead) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> values(999 * 2 * 16);
  for (float& value : values) value = static_cast<float>(bf16(normal(random)));
  const Coded one = round_trip(values, 2, 16), two = round_trip(values, 2, 16, 2);
  EXPECT_EQ(one.codes, two.codes);
  std::vector<bf16> narrow(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) narrow[i] = bf16(values[i]);
  std::vector<std::int8_t> codes(values.size());
  std::vector<float> scale(999 * 2);
  encode_rows({}, Tensor(narrow.data(), DType::kBF16, {999, 2, 16}), Tensor(codes.data(), DType::kI8, {999, 2, 16}),
              Tensor(scale.data(), DType::kF32, {999, 2}));
  EXPECT_EQ(codes, one.codes);
  EXPECT_EQ(scale, one.scale);
}

}  // namespace
}  // namespace longspan
