#include "kernels/core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace longspan {
namespace {

// Rounding by arithmetic alone: scale to 8 significant bits, round half to even, scale back.
float round_to_8_bits(float value) {
  if (value == 0 || !std::isfinite(value)) return value;
  int exponent = 0;
  std::frexp(value, &exponent);
  const int lowest = std::max(exponent - 8, -133);  // 2^-133 is the smallest subnormal of bfloat16
  const double scaled = std::ldexp(static_cast<double>(value), -lowest);
  const double rounded = std::ldexp(std::nearbyint(scaled), lowest);
  return std::abs(rounded) >= std::ldexp(1.0, 128) ? std::copysign(std::numeric_limits<float>::infinity(), value)
                                                   : static_cast<float>(rounded);
}

TEST(Bf16, RoundsToNearestEven) {
  std::mt19937 generator(1);
  for (int i = 0; i < 200000; ++i) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(generator()));
    if (std::isnan(value)) continue;
    EXPECT_EQ(static_cast<float>(bf16(value)), round_to_8_bits(value)) << value;
  }
}

TEST(Bf16, TiesGoToTheEvenNeighbour) {
  EXPECT_EQ(bf16(1.0f + 1.0f / 256).bits, 0x3f80);  // halfway to the next, which is odd
  EXPECT_EQ(bf16(1.0f + 3.0f / 256).bits, 0x3f82);  // halfway from an odd one
  EXPECT_EQ(bf16(std::nextafter(1.0f + 1.0f / 256, 2.0f)).bits, 0x3f81);
}

TEST(Bf16, KeepsZerosInfinitiesAndNaN) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(bf16(-0.0f).bits, 0x8000);
  EXPECT_EQ(static_cast<float>(bf16(kInfinity)), kInfinity);
  EXPECT_EQ(static_cast<float>(bf16(-kInfinity)), -kInfinity);
  EXPECT_EQ(static_cast<float>(bf16(std::numeric_limits<float>::max())), kInfinity);
  // The payload's high bits are all zero: truncation alone would make an infinity of it.
  const float quiet_but_low = std::bit_cast<float>(0x7f800001u);
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(quiet_but_low))));
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0xffffffffu)))));
}

TEST(DType, SizesAndNames) {
  EXPECT_EQ(size_of(DType::kF32), 4);
  EXPECT_EQ(size_of(DType::kBF16), 2);
  EXPECT_EQ(size_of(DType::kI32), 4);
  EXPECT_EQ(size_of(DType::kI64), 8);
  EXPECT_EQ(size_of(DType::kI8), 1);
  EXPECT_EQ(name_of(DType::kBF16), "bf16");
  EXPECT_EQ(dtype_of<bf16>(), DType::kBF16);
  EXPECT_EQ(dtype_of<std::int64_t>(), DType::kI64);
  EXPECT_EQ(dtype_of<std::int8_t>(), DType::kI8);
}

}  // namespace
}  // namespace longspan
