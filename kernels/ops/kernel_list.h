// Every operator with more than one implementation behind it, and the names of those implementations.
//
// A new implementation is one file in kernels/{cpu,cuda,reference}/, its name here, and its place in kernel_list.cc.
// The conformance suite finds it there.
#pragma once

#include "kernels/ops/kernel_args.h"

namespace longspan {

namespace cpu {
extern const Kernel<Matmul> matmul_sgemm;
extern const Kernel<Matmul> matmul_onednn;
extern const Kernel<Matmul> matmul_converted;
extern const Kernel<EmbeddingForward> embedding_forward;
extern const Kernel<EmbeddingBackward> embedding_backward;
extern const Kernel<RmsNormForward> rms_norm_forward;
extern const Kernel<RmsNormBackward> rms_norm_backward;
extern const Kernel<RotaryTable> rotary_table;
extern const Kernel<Rotary> rotary;
extern const Kernel<SwigluForward> swiglu_forward;
extern const Kernel<SwigluBackward> swiglu_backward;
extern const Kernel<Add> add;
extern const Kernel<Cast> cast;
extern const Kernel<AddRowSum> add_row_sum;
extern const Kernel<FillZero> fill_zero;
extern const Kernel<HeadLoss> head_loss;
extern const Kernel<SumOfSquares> sum_of_squares;
extern const Kernel<AdamW> adamw;

// "AVX2", "AVX-512 with AMX bf16", …: what oneDNN will use on this machine.
std::string matmul_instruction_set();
}  // namespace cpu

namespace reference {
extern const Kernel<Matmul> matmul;
extern const Kernel<EmbeddingForward> embedding_forward;
extern const Kernel<EmbeddingBackward> embedding_backward;
extern const Kernel<RmsNormForward> rms_norm_forward;
extern const Kernel<RmsNormBackward> rms_norm_backward;
extern const Kernel<RotaryTable> rotary_table;
extern const Kernel<Rotary> rotary;
extern const Kernel<SwigluForward> swiglu_forward;
extern const Kernel<SwigluBackward> swiglu_backward;
extern const Kernel<Add> add;
extern const Kernel<Cast> cast;
extern const Kernel<AddRowSum> add_row_sum;
extern const Kernel<FillZero> fill_zero;
extern const Kernel<HeadLoss> head_loss;
extern const Kernel<SumOfSquares> sum_of_squares;
extern const Kernel<AdamW> adamw;
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

// The first implementation on the list that does not refuse.
template <class Args>
const Kernel<Args>& choose_kernel(std::string_view op, const Exec& exec, DType dtype) {
  return choose(op, kernels_of<Args>(), KernelDesc{exec.device, dtype});
}

}  // namespace longspan
