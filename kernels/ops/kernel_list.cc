#include "kernels/ops/kernel_list.h"

#include <vector>

#include "kernels/ops/cuda_list.h"

namespace longspan {
namespace {

// What runs on GPUs, then what is named here: a list serves every device, and an implementation refuses the others.
template <class Args, const Kernel<Args>&... on_cpu>
KernelList<Args> list() {
  static const std::vector<const Kernel<Args>*> kList = [] {
    const KernelList<Args> on_gpu = cuda::kernels<Args>();
    std::vector<const Kernel<Args>*> all(on_gpu.begin(), on_gpu.end());
    (all.push_back(&on_cpu), ...);
    return all;
  }();
  return kList;
}

}  // namespace

std::string KernelDesc::describe() const {
  if (result == dtype) return fmt::format("{} {}", name_of(device), name_of(dtype));
  return fmt::format("{} {} to {}", name_of(device), name_of(dtype), name_of(result));
}

Refusal needs_cpu(const KernelDesc& desc) {
  if (desc.device == Device::kCpu) return std::nullopt;
  return fmt::format("runs on cpu, not on {}", name_of(desc.device));
}

Refusal needs_cuda(const KernelDesc& desc) {
  if (desc.device == Device::kCuda) return std::nullopt;
  return fmt::format("runs on cuda, not on {}", name_of(desc.device));
}

template <>
KernelList<Matmul> kernels_of() {
  return list<Matmul, cpu::kMatmulSgemm, cpu::kMatmulOneDnn, cpu::kMatmulConverted, reference::kMatmul>();
}
template <>
KernelList<EmbeddingForward> kernels_of() {
  return list<EmbeddingForward, cpu::kEmbeddingForward, reference::kEmbeddingForward>();
}
template <>
KernelList<EmbeddingBackward> kernels_of() {
  return list<EmbeddingBackward, cpu::kEmbeddingBackward, reference::kEmbeddingBackward>();
}
template <>
KernelList<RmsNormForward> kernels_of() {
  return list<RmsNormForward, cpu::kRmsNormForward, reference::kRmsNormForward>();
}
template <>
KernelList<RmsNormBackward> kernels_of() {
  return list<RmsNormBackward, cpu::kRmsNormBackward, reference::kRmsNormBackward>();
}
template <>
KernelList<RotaryTable> kernels_of() {
  return list<RotaryTable, cpu::kRotaryTable, reference::kRotaryTable>();
}
template <>
KernelList<Rotary> kernels_of() {
  return list<Rotary, cpu::kRotary, reference::kRotary>();
}
template <>
KernelList<SwigluForward> kernels_of() {
  return list<SwigluForward, cpu::kSwigluForward, reference::kSwigluForward>();
}
template <>
KernelList<SwigluBackward> kernels_of() {
  return list<SwigluBackward, cpu::kSwigluBackward, reference::kSwigluBackward>();
}
template <>
KernelList<Add> kernels_of() {
  return list<Add, cpu::kAdd, reference::kAdd>();
}
template <>
KernelList<Cast> kernels_of() {
  return list<Cast, cpu::kCast, reference::kCast>();
}
template <>
KernelList<AddRowSum> kernels_of() {
  return list<AddRowSum, cpu::kAddRowSum, reference::kAddRowSum>();
}
template <>
KernelList<FillZero> kernels_of() {
  return list<FillZero, cpu::kFillZero, reference::kFillZero>();
}
template <>
KernelList<HeadLoss> kernels_of() {
  return list<HeadLoss, cpu::kHeadLoss, reference::kHeadLoss>();
}
template <>
KernelList<SumOfSquares> kernels_of() {
  return list<SumOfSquares, cpu::kSumOfSquares, reference::kSumOfSquares>();
}
template <>
KernelList<AdamW> kernels_of() {
  return list<AdamW, cpu::kAdamw, reference::kAdamw>();
}
template <>
KernelList<ClearCarry> kernels_of() {
  return list<ClearCarry, cpu::kClearCarry>();
}
template <>
KernelList<MergeCarry> kernels_of() {
  return list<MergeCarry, cpu::kMergeCarry>();
}
template <>
KernelList<FinishForward> kernels_of() {
  return list<FinishForward, cpu::kFinishForward>();
}
template <>
KernelList<BeginBackward> kernels_of() {
  return list<BeginBackward, cpu::kBeginBackward>();
}
template <>
KernelList<EncodeRows> kernels_of() {
  return list<EncodeRows, cpu::kEncodeRows, reference::kEncodeRows>();
}
template <>
KernelList<DecodeRows> kernels_of() {
  return list<DecodeRows, cpu::kDecodeRows, reference::kDecodeRows>();
}

}  // namespace longspan
