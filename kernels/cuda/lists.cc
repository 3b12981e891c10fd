// What there is on GPUs, best first. An operator without a kernel here is refused on GPUs.
#include <array>

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/ops/cuda_list.h"

namespace longspan::cuda {
namespace {

template <class Args, const Kernel<Args>&... all>
KernelList<Args> list() {
  static constexpr std::array<const Kernel<Args>*, sizeof...(all)> kList = {&all...};
  return kList;
}

}  // namespace

template <>
KernelList<Matmul> kernels() {
  return list<Matmul>();
}
template <>
KernelList<EmbeddingForward> kernels() {
  return list<EmbeddingForward>();
}
template <>
KernelList<EmbeddingBackward> kernels() {
  return list<EmbeddingBackward>();
}
template <>
KernelList<RmsNormForward> kernels() {
  return list<RmsNormForward>();
}
template <>
KernelList<RmsNormBackward> kernels() {
  return list<RmsNormBackward>();
}
template <>
KernelList<RotaryTable> kernels() {
  return list<RotaryTable>();
}
template <>
KernelList<Rotary> kernels() {
  return list<Rotary>();
}
template <>
KernelList<SwigluForward> kernels() {
  return list<SwigluForward>();
}
template <>
KernelList<SwigluBackward> kernels() {
  return list<SwigluBackward>();
}
template <>
KernelList<Add> kernels() {
  return list<Add, kAdd>();
}
template <>
KernelList<Cast> kernels() {
  return list<Cast, kCast>();
}
template <>
KernelList<AddRowSum> kernels() {
  return list<AddRowSum, kAddRowSum>();
}
template <>
KernelList<FillZero> kernels() {
  return list<FillZero, kFillZero>();
}
template <>
KernelList<HeadLoss> kernels() {
  return list<HeadLoss>();
}
template <>
KernelList<SumOfSquares> kernels() {
  return list<SumOfSquares>();
}
template <>
KernelList<AdamW> kernels() {
  return list<AdamW>();
}
template <>
KernelList<ClearCarry> kernels() {
  return list<ClearCarry>();
}
template <>
KernelList<MergeCarry> kernels() {
  return list<MergeCarry>();
}
template <>
KernelList<FinishForward> kernels() {
  return list<FinishForward>();
}
template <>
KernelList<BeginBackward> kernels() {
  return list<BeginBackward>();
}
template <>
KernelList<EncodeRows> kernels() {
  return list<EncodeRows>();
}
template <>
KernelList<DecodeRows> kernels() {
  return list<DecodeRows>();
}

std::span<const AttentionOp* const> attention_ops() {
  static const std::array<const AttentionOp*, 1> kList = {&sm90_attention()};
  return kList;
}

}  // namespace longspan::cuda
