// Element types of tensors and the bfloat16 storage type.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "kernels/core/platform.h"

namespace longspan {

enum class DType : std::uint8_t { kF32, kBF16, kI32, kI64, kI8, kF64 };

// Bytes of one element.
constexpr std::int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32: return 4;
    case DType::kBF16: return 2;
    case DType::kI64:
    case DType::kF64: return 8;
    case DType::kI8: return 1;
  }
  return 0;
}

// "fp32", "bf16", "int32", "int64", "int8", "fp64" (sums that are kept, never operands).
std::string_view name_of(DType dtype);

// Storage of a bfloat16; arithmetic happens in float. Rounds to nearest even; NaN stays NaN.
struct bf16 {
  std::uint16_t bits = 0;

  bf16() = default;
  LS_HD explicit bf16(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  LS_HD explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

// The DType of a C++ element type.
template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return DType::kF32;
  else if constexpr (std::is_same_v<T, bf16>)
    return DType::kBF16;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return DType::kI32;
  else if constexpr (std::is_same_v<T, std::int8_t>)
    return DType::kI8;
  else if constexpr (std::is_same_v<T, double>)
    return DType::kF64;
  else {
    static_assert(std::is_same_v<T, std::int64_t>, "no DType for this type");
    return DType::kI64;
  }
}

}  // namespace longspan
