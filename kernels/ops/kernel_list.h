// Every operator with more than one implementation behind it, and the names of those implementations.
//
// A new implementation is one file in kernels/{cpu,cuda,reference}/, its name here, and its place in kernel_list.cc.
// The conformance suite finds it there.
#pragma once

#include "kernels/ops/kernel_args.h"

namespace longspan {

namespace cpu {
extern const Kernel<Matmul> kMatmulSgemm;
extern const Kernel<Matmul> kMatmulOneDnn;
extern const Kernel<Matmul> kMatmulConverted;
extern const Kernel<EmbeddingForward> kEmbeddingForward;
extern const Kernel<EmbeddingBackward> kEmbeddingBackward;
extern const Kernel<RmsNormForward> kRmsNormForward;
extern const Kernel<RmsNormBackward> kRmsNormBackward;
extern const Kernel<RotaryTable> kRotaryTable;
extern const Kernel<Rotary> kRotary;
extern const Kernel<SwigluForward> kSwigluForward;
extern const Kernel<SwigluBackward> kSwigluBackward;
extern const Kernel<Add> kAdd;
extern const Kernel<Cast> kCast;
extern const Kernel<AddRowSum> kAddRowSum;
extern const Kernel<FillZero> kFillZero;
extern const Kernel<HeadLoss> kHeadLoss;
extern const Kernel<SumOfSquares> kSumOfSquares;
extern const Kernel<AdamW> kAdamw;
extern const Kernel<ClearCarry> kClearCarry;
extern const Kernel<MergeCarry> kMergeCarry;
extern const Kernel<FinishForward> kFinishForward;
extern const Kernel<BeginBackward> kBeginBackward;
extern const Kernel<EncodeRows> kEncodeRows;
extern const Kernel<DecodeRows> kDecodeRows;

// "AVX2", "AVX-512 with AMX bf16", …: what oneDNN will use on this machine.
std::string matmul_instruction_set();
}  // namespace cpu

namespace reference {
extern const Kernel<Matmul> kMatmul;
extern const Kernel<EmbeddingForward> kEmbeddingForward;
extern const Kernel<EmbeddingBackward> kEmbeddingBackward;
extern const Kernel<RmsNormForward> kRmsNormForward;
extern const Kernel<RmsNormBackward> kRmsNormBackward;
extern const Kernel<RotaryTable> kRotaryTable;
extern const Kernel<Rotary> kRotary;
extern const Kernel<SwigluForward> kSwigluForward;
extern const Kernel<SwigluBackward> kSwigluBackward;
extern const Kernel<Add> kAdd;
extern const Kernel<Cast> kCast;
extern const Kernel<AddRowSum> kAddRowSum;
extern const Kernel<FillZero> kFillZero;
extern const Kernel<HeadLoss> kHeadLoss;
extern const Kernel<SumOfSquares> kSumOfSquares;
extern const Kernel<AdamW> kAdamw;
extern const Kernel<EncodeRows> kEncodeRows;
extern const Kernel<DecodeRows> kDecodeRows;
}  // namespace reference

// The list of an operator's implementations. There is one for each specialisation below.
template <class Args>
KernelList<Args> kernels_of();
template <>
KernelList<Matmul> kernels_of();
template <>
KernelList<EmbeddingForward> kernels_of();
template <>
KernelList<EmbeddingBackward> kernels_of();
template <>
KernelList<RmsNormForward> kernels_of();
template <>
KernelList<RmsNormBackward> kernels_of();
template <>
KernelList<RotaryTable> kernels_of();
template <>
KernelList<Rotary> kernels_of();
template <>
KernelList<SwigluForward> kernels_of();
template <>
KernelList<SwigluBackward> kernels_of();
template <>
KernelList<Add> kernels_of();
template <>
KernelList<Cast> kernels_of();
template <>
KernelList<AddRowSum> kernels_of();
template <>
KernelList<FillZero> kernels_of();
template <>
KernelList<HeadLoss> kernels_of();
template <>
KernelList<SumOfSquares> kernels_of();
template <>
KernelList<AdamW> kernels_of();
template <>
KernelList<ClearCarry> kernels_of();
template <>
KernelList<MergeCarry> kernels_of();
template <>
KernelList<FinishForward> kernels_of();
template <>
KernelList<BeginBackward> kernels_of();
template <>
KernelList<EncodeRows> kernels_of();
template <>
KernelList<DecodeRows> kernels_of();

// The first implementation on the list that does not refuse.
template <class Args>
const Kernel<Args>& choose_kernel(std::string_view op, const Exec& exec, DType dtype, DType result) {
  return choose(op, kernels_of<Args>(), KernelDesc{exec.device, dtype, result});
}
template <class Args>
const Kernel<Args>& choose_kernel(std::string_view op, const Exec& exec, DType dtype) {
  return choose_kernel<Args>(op, exec, dtype, dtype);
}

}  // namespace longspan
