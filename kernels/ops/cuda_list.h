// What kernels/cuda/ brings to the lists. Where CUDA is not built these lists are empty; the files that say so are
// chosen by CMake.
#pragma once

#include "kernels/ops/attention.h"
#include "kernels/ops/kernel_args.h"
#include "kernels/ops/whole_attention.h"

namespace longspan::cuda {

// An operator's implementations on GPUs, best first. Defined for each operator of kernel_list.h.
template <class Args>
KernelList<Args> kernels();
template <>
KernelList<Matmul> kernels();
template <>
KernelList<EmbeddingForward> kernels();
template <>
KernelList<EmbeddingBackward> kernels();
template <>
KernelList<RmsNormForward> kernels();
template <>
KernelList<RmsNormBackward> kernels();
template <>
KernelList<RotaryTable> kernels();
template <>
KernelList<Rotary> kernels();
template <>
KernelList<SwigluForward> kernels();
template <>
KernelList<SwigluBackward> kernels();
template <>
KernelList<Add> kernels();
template <>
KernelList<Cast> kernels();
template <>
KernelList<AddRowSum> kernels();
template <>
KernelList<FillZero> kernels();
template <>
KernelList<HeadLoss> kernels();
template <>
KernelList<SumOfSquares> kernels();
template <>
KernelList<AdamW> kernels();
template <>
KernelList<ClearCarry> kernels();
template <>
KernelList<MergeCarry> kernels();
template <>
KernelList<FinishForward> kernels();
template <>
KernelList<BeginBackward> kernels();
template <>
KernelList<EncodeRows> kernels();
template <>
KernelList<DecodeRows> kernels();

// Core attention on GPUs, best first.
std::span<const AttentionOp* const> attention_ops();
// Libraries' attention of whole rows.
std::span<const WholeAttentionOp* const> whole_attention_ops();

}  // namespace longspan::cuda
