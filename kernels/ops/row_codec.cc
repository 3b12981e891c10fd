#include "kernels/ops/row_codec.h"

#include "kernels/ops/attention_list.h"
#include "kernels/ops/checks.h"

namespace longspan {
namespace {

void check(std::string_view op, const Exec& exec, const Tensor& values, const Tensor& codes, const Tensor& scale) {
  LS_REQUIRE(kUnsupported, exec.device == Device::kCpu, "{}: runs on cpu, not on {}; set run.device to cpu", op,
             name_of(exec.device));
  const OperandChecks checks(op, exec);
  checks.expect_float("values", values, 3, 3);
  checks.expect("codes", codes, DType::kI8, {values.shape[0], values.shape[1], values.shape[2]}, Strides::kRows);
  checks.expect("scale", scale, DType::kF32, {values.shape[0], values.shape[1]}, Strides::kRows);
}

}  // namespace

void encode_rows(const Exec& exec, const Tensor& values, const Tensor& codes, const Tensor& scale) {
  check("encode_rows", exec, values, codes, scale);
  cpu::encode_rows(exec, values, codes, scale);
}

void decode_rows(const Exec& exec, const Tensor& codes, const Tensor& scale, const Tensor& values) {
  check("decode_rows", exec, values, codes, scale);
  cpu::decode_rows(exec, codes, scale, values);
}

}  // namespace longspan
