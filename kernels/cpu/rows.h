// Rows: a tensor seen as rows of its last dimension, whatever the strides of the others.
#pragma once

#include "kernels/core/tensor.h"

namespace longspan::cpu {

// Elements from the first of the tensor to the first of a row.
inline std::int64_t row_offset(const Tensor& tensor, std::int64_t row) {
  std::int64_t offset = 0;
  for (int d = tensor.dims - 2; d > 0; --d) {
    offset += row % tensor.shape[d] * tensor.stride[d];
    row /= tensor.shape[d];
  }
  return offset + (tensor.dims > 1 ? row * tensor.stride[0] : 0);
}

// A tensor [d0, …, width] as d0 * … rows of T.
template <class T>
class Rows {
 public:
  explicit Rows(const Tensor& tensor) : data_(tensor.get<T>()), tensor_(tensor) {}
  T* operator[](std::int64_t row) const { return data_ + row_offset(tensor_, row); }

 private:
  T* data_;
  Tensor tensor_;
};

inline std::int64_t width_of(const Tensor& tensor) {
  return tensor.size(tensor.dims - 1);
}

// How many rows; 0 where they have no elements.
inline std::int64_t rows_of(const Tensor& tensor) {
  return width_of(tensor) == 0 ? 0 : tensor.numel() / width_of(tensor);
}

}  // namespace longspan::cpu
