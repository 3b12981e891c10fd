#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

// The memory offset, in elements, of the index-th element.
std::int64_t offset_of(const Tensor& tensor, std::int64_t index) {
  std::int64_t offset = 0;
  for (int d = tensor.dims - 1; d >= 0; --d) {
    offset += index % tensor.shape[d] * tensor.stride[d];
    index /= tensor.shape[d];
  }
  return offset;
}

}  // namespace

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

std::vector<double> load_all(const Tensor& tensor) {
  std::vector<double> values(static_cast<std::size_t>(tensor.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = load(tensor, static_cast<std::int64_t>(i));
  return values;
}

void store_all(const Tensor& tensor, const std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) store(tensor, static_cast<std::int64_t>(i), values[i]);
}

void add_all(const Tensor& tensor, const std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    store(tensor, at, load(tensor, at) + values[i]);
  }
}

}  // namespace longspan::reference
