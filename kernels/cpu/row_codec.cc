#include <algorithm>
#include <cmath>

#include "kernels/cpu/head_rows.h"
#include "kernels/ops/kernel_list.h"

namespace longspan::cpu {
namespace {

constexpr float kMostCode = 127;

// The largest magnitude; NaN if any number is none or infinite.
template <class T>
float reach_of(const T* x, std::int64_t n) {
  float reach = 0, all_finite = 0;
  for (std::int64_t e = 0; e < n; ++e) {
    const auto value = static_cast<float>(x[e]);
    reach = std::max(reach, std::abs(value));
    all_finite += value * 0.0f;  // 0, or NaN from the first number that is not finite
  }
  return reach + all_finite;
}

template <class T>
void encode_typed(const Exec& exec, const Tensor& values, const Tensor& codes, const Tensor& scale) {
  for_each_row(exec, values, [&](std::int64_t t, std::int64_t h) {
    const T* x = row_of<T>(values, t, h);
    std::int8_t* code = row_of<std::int8_t>(codes, t, h);
    const float reach = reach_of(x, values.shape[2]);
    // Codes follow from the scale as it is stored: a row too small for its quotient keeps to the bound all the same.
    const float step = reach / kMostCode;
    *row_of<float>(scale, t, h) = step;
    const bool plain = step > 0;
    for (std::int64_t e = 0; e < values.shape[2]; ++e) {
      const float q = plain ? std::nearbyint(static_cast<float>(x[e]) / step) : 0.0f;
      code[e] = static_cast<std::int8_t>(std::clamp(q, -kMostCode, kMostCode));
    }
  });
}

template <class T>
void decode_typed(const Exec& exec, const Tensor& codes, const Tensor& scale, const Tensor& values) {
  for_each_row(exec, values, [&](std::int64_t t, std::int64_t h) {
    const std::int8_t* code = row_of<std::int8_t>(codes, t, h);
    const float step = *row_of<float>(scale, t, h);
    T* x = row_of<T>(values, t, h);
    for (std::int64_t e = 0; e < values.shape[2]; ++e) x[e] = T(static_cast<float>(code[e]) * step);
  });
}

void encode_rows(const Exec& exec, const EncodeRows& args) {
  const auto& [values, codes, scale] = args;
  if (values.dtype == DType::kBF16)
    encode_typed<bf16>(exec, values, codes, scale);
  else
    encode_typed<float>(exec, values, codes, scale);
}

void decode_rows(const Exec& exec, const DecodeRows& args) {
  const auto& [codes, scale, values] = args;
  if (values.dtype == DType::kBF16)
    decode_typed<bf16>(exec, codes, scale, values);
  else
    decode_typed<float>(exec, codes, scale, values);
}

}  // namespace

const Kernel<EncodeRows> kEncodeRows("cpu rows", needs_cpu, encode_rows);
const Kernel<DecodeRows> kDecodeRows("cpu rows", needs_cpu, decode_rows);

}  // namespace longspan::cpu
