// The names of the implementations on GPUs; lists.cc puts them in order.
#pragma once

#include "kernels/ops/attention.h"
#include "kernels/ops/kernel_args.h"

namespace longspan::cuda {

extern const Kernel<Add> kAdd;
extern const Kernel<Cast> kCast;
extern const Kernel<AddRowSum> kAddRowSum;
extern const Kernel<FillZero> kFillZero;

// Core attention: warpgroup products of compute capability 9.0.
const AttentionOp& sm90_attention();

}  // namespace longspan::cuda
