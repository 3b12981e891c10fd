// Elements of a tensor of any float dtype, read and written as double.
#pragma once

#include <vector>

#include "kernels/core/tensor.h"

namespace longspan::reference {

// The index-th element in row-major order; strides are honoured. fp32 or bf16.
double load(const Tensor& tensor, std::int64_t index);
void store(const Tensor& tensor, std::int64_t index, double value);

// All elements in row-major order.
std::vector<double> load_all(const Tensor& tensor);
void store_all(const Tensor& tensor, const std::vector<double>& values);
// tensor += values, the sum formed in double.
void add_all(const Tensor& tensor, const std::vector<double>& values);

}  // namespace longspan::reference
