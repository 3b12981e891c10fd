#include "kernels/ops/row_codec.h"

#include "kernels/ops/checks.h"
#include "kernels/ops/kernel_list.h"

namespace longspan {
namespace {

void check(std::string_view op, const Exec& exec, const Tensor& values, const Tensor& codes, const Tensor& scale) {
  const OperandChecks checks(op, exec);
  checks.expect_float("values", values, 3, 3);
  checks.expect("codes", codes, DType::kI8, {values.shape[0], values.shape[1], values.shape[2]}, Strides::kRows);
  checks.expect("scale", scale, DType::kF32, {values.shape[0], values.shape[1]}, Strides::kRows);
}

}  // namespace

void encode_rows(const Exec& exec, const Tensor& values, const Tensor& codes, const Tensor& scale) {
  check("encode_rows", exec, values, codes, scale);
  choose_kernel<EncodeRows>("encode_rows", exec, values.dtype, DType::kI8).run(exec, {values, codes, scale});
}

void decode_rows(const Exec& exec, const Tensor& codes, const Tensor& scale, const Tensor& values) {
  check("decode_rows", exec, values, codes, scale);
  choose_kernel<DecodeRows>("decode_rows", exec, DType::kI8, values.dtype).run(exec, {codes, scale, values});
}

}  // namespace longspan
