#include "kernels/reference/elements.h"

namespace longspan::reference {

std::int64_t offset_of(const Tensor& tensor, std::int64_t index) {
  std::int64_t offset = 0;
  for (int d = tensor.dims - 1; d >= 0; --d) {
    offset += index % tensor.shape[d] * tensor.stride[d];
    index /= tensor.shape[d];
  }
  return offset;
}

double load(const Tensor& tensor, std::int64_t index) {
  const std::int64_t at = offset_of(tensor, index);
  return tensor.dtype == DType::kBF16 ? static_cast<float>(tensor.get<bf16>()[at]) : tensor.get<float>()[at];
}

void store(const Tensor& tensor, std::int64_t index, double value) {
  const std::int64_t at = offset_of(tensor, index);
  if (tensor.dtype == DType::kBF16)
    tensor.get<bf16>()[at] = bf16(static_cast<float>(value));
  else
    tensor.get<float>()[at] = static_cast<float>(value);
}

}  // namespace longspan::reference
