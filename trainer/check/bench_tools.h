// What the benchmarks share: inputs, and what is made of several runs.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/core/tensor.h"

namespace longspan {

// Normal deviates, the same for a seed on every run. fp32 or bf16, contiguous.
void fill_random(const Tensor& tensor, std::uint64_t seed);

// Of at least one value; of an even number the upper of the middle two.
double median(std::vector<double> values);
double least(const std::vector<double>& values);

}  // namespace longspan
