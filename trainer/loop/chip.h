// What a GPU could do at best: the denominator of MFU.
#pragma once

#include <optional>
#include <string_view>

#include "kernels/core/dtype.h"

namespace longspan {

// Operations a second that the chip of this name (as its driver spells it) reaches in dense matrix products of this
// type with fp32 sums, by NVIDIA's datasheets:
//   A100 (SXM and PCIe)     312e12 bf16   "NVIDIA A100 Tensor Core GPU" datasheet, 2021
//   H100 SXM                989e12 bf16   "NVIDIA H100 Tensor Core GPU" datasheet, 2023: 1979 with sparsity
//   H200 SXM                989e12 bf16   "NVIDIA H200 Tensor Core GPU" datasheet, 2024: the same
// nullopt for any other chip, for fp32, and for an emulated GPU: no figure is better than a wrong one.
std::optional<double> peak_flops_of(std::string_view chip, DType precision);

}  // namespace longspan
