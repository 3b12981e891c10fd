// Elements of a tensor of any float dtype, read and written as double.
#pragma once

#include "kernels/core/tensor.h"

namespace longspan::reference {

// Row-major walk over any tensor: the memory offset, in elements, of its index-th element.
std::int64_t offset_of(const Tensor& tensor, std::int64_t index);

// The index-th element in row-major order; strides are honoured. fp32 or bf16.
double load(const Tensor& tensor, std::int64_t index);
void store(const Tensor& tensor, std::int64_t index, double value);

}  // namespace longspan::reference
