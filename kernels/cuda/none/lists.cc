// A build without CUDA has no implementation on GPUs.
#include "kernels/ops/cuda_list.h"

namespace longspan::cuda {

template <>
KernelList<Matmul> kernels() {
  return {};
}
template <>
KernelList<EmbeddingForward> kernels() {
  return {};
}
template <>
KernelList<EmbeddingBackward> kernels() {
  return {};
}
template <>
KernelList<RmsNormForward> kernels() {
  return {};
}
template <>
KernelList<RmsNormBackward> kernels() {
  return {};
}
template <>
KernelList<RotaryTable> kernels() {
  return {};
}
template <>
KernelList<Rotary> kernels() {
  return {};
}
template <>
KernelList<SwigluForward> kernels() {
  return {};
}
template <>
KernelList<SwigluBackward> kernels() {
  return {};
}
template <>
KernelList<Add> kernels() {
  return {};
}
template <>
KernelList<Cast> kernels() {
  return {};
}
template <>
KernelList<AddRowSum> kernels() {
  return {};
}
template <>
KernelList<FillZero> kernels() {
  return {};
}
template <>
KernelList<HeadLoss> kernels() {
  return {};
}
template <>
KernelList<SumOfSquares> kernels() {
  return {};
}
template <>
KernelList<AdamW> kernels() {
  return {};
}
template <>
KernelList<ClearCarry> kernels() {
  return {};
}
template <>
KernelList<MergeCarry> kernels() {
  return {};
}
template <>
KernelList<FinishForward> kernels() {
  return {};
}
template <>
KernelList<BeginBackward> kernels() {
  return {};
}
template <>
KernelList<EncodeRows> kernels() {
  return {};
}
template <>
KernelList<DecodeRows> kernels() {
  return {};
}

std::span<const AttentionOp* const> attention_ops() {
  return {};
}

}  // namespace longspan::cuda
