#include "kernels/core/tensor.h"

#include <fmt/ranges.h>

#include <span>

namespace longspan {

std::string_view name_of(Device device) {
  return device == Device::kCpu ? "cpu" : "cuda";
}

Tensor::Tensor(void* memory, DType type, std::initializer_list<std::int64_t> sizes, Device where)
    : data(memory), dtype(type), device(where), dims(static_cast<int>(sizes.size())) {
  LS_CHECK(dims >= 1 && dims <= kMaxDims, "{} dimensions", dims);
  std::copy(sizes.begin(), sizes.end(), shape.begin());
  std::int64_t step = 1;
  for (int d = dims - 1; d >= 0; --d) {
    LS_CHECK(shape[d] >= 0, "dimension {} has size {}", d, shape[d]);
    stride[d] = step;
    step *= shape[d];
  }
}

std::int64_t Tensor::size(int dim) const {
  LS_CHECK(dim >= 0 && dim < dims, "dimension {} of {}", dim, describe());
  return shape[dim];
}

std::int64_t Tensor::numel() const {
  if (dims == 0) return 0;
  std::int64_t count = 1;
  for (int d = 0; d < dims; ++d) count *= shape[d];
  return count;
}

bool Tensor::is_contiguous() const {
  std::int64_t step = 1;
  for (int d = dims - 1; d >= 0; --d) {
    if (shape[d] != 1 && stride[d] != step) return false;
    step *= shape[d];
  }
  return true;
}

bool Tensor::same_shape(const Tensor& other) const {
  return dims == other.dims && std::equal(shape.begin(), shape.begin() + dims, other.shape.begin());
}

Tensor Tensor::narrow(int dim, std::int64_t begin, std::int64_t end) const {
  LS_CHECK(0 <= begin && begin <= end && end <= size(dim), "[{}, {}) of dimension {} of {}", begin, end, dim,
           describe());
  Tensor part = *this;
  part.data = static_cast<char*>(data) + begin * stride[dim] * size_of(dtype);
  part.shape[dim] = end - begin;
  return part;
}

Tensor Tensor::view(std::initializer_list<std::int64_t> sizes) const {
  LS_CHECK(is_contiguous(), "view of a strided tensor {}", describe());
  Tensor other(data, dtype, sizes, device);
  LS_CHECK(other.numel() == numel(), "{} viewed as {}", describe(), other.describe());
  return other;
}

std::string Tensor::describe() const {
  if (dims == 0) return "absent";
  std::string text = fmt::format("{}[{}]", name_of(dtype), fmt::join(shape.begin(), shape.begin() + dims, ", "));
  if (!is_contiguous()) text += fmt::format(" strides [{}]", fmt::join(stride.begin(), stride.begin() + dims, ", "));
  return text;
}

}  // namespace longspan
