// What there is on GPUs, best first. An operator without a kernel here is refused on GPUs.
#include <array>
#include <vector>

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
  static const std::vector<const Kernel<Matmul>*> kList = [] {
    const KernelList<Matmul> libraries = library_matmuls();
    std::vector<const Kernel<Matmul>*> all(libraries.begin(), libraries.end());
    all.push_back(&kMatmulTiled);
    return all;
  }();
  return kList;
}
template <>
KernelList<EmbeddingForward> kernels() {
  return list<EmbeddingForward, kEmbeddingForward>();
}
template <>
KernelList<EmbeddingBackward> kernels() {
  return list<EmbeddingBackward, kEmbeddingBackward>();
}
template <>
KernelList<RmsNormForward> kernels() {
  return list<RmsNormForward, kRmsNormForward>();
}
template <>
KernelList<RmsNormBackward> kernels() {
  return list<RmsNormBackward, kRmsNormBackward>();
}
template <>
KernelList<RotaryTable> kernels() {
  return list<RotaryTable, kRotaryTable>();
}
template <>
KernelList<Rotary> kernels() {
  return list<Rotary, kRotary>();
}
template <>
KernelList<SwigluForward> kernels() {
  return list<SwigluForward, kSwigluForward>();
}
template <>
KernelList<SwigluBackward> kernels() {
  return list<SwigluBackward, kSwigluBackward>();
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
  return list<HeadLoss, kHeadLoss>();
}
template <>
KernelList<SumOfSquares> kernels() {
  return list<SumOfSquares, kSumOfSquares>();
}
template <>
KernelList<AdamW> kernels() {
  return list<AdamW, kAdamw>();
}
template <>
KernelList<EncodeRows> kernels() {
  return list<EncodeRows, kEncodeRows>();
}
template <>
KernelList<DecodeRows> kernels() {
  return list<DecodeRows, kDecodeRows>();
}
template <>
KernelList<ClearCarry> kernels() {
  return list<ClearCarry, kClearCarry>();
}
template <>
KernelList<MergeCarry> kernels() {
  return list<MergeCarry, kMergeCarry>();
}
template <>
KernelList<FinishForward> kernels() {
  return list<FinishForward, kFinishForward>();
}
template <>
KernelList<BeginBackward> kernels() {
  return list<BeginBackward, kBeginBackward>();
}

std::span<const AttentionOp* const> attention_ops() {
  static const std::array<const AttentionOp*, 3> kList = {&sm90_attention(), &sm80_attention(), &attention_by_rows()};
  return kList;
}

}  // namespace longspan::cuda
