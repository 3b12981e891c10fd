#include "kernels/ops/kernel_list.h"

namespace longspan {
namespace {

template <class Args, const Kernel<Args>&... kernels>
KernelList<Args> list() {
  static constexpr std::array<const Kernel<Args>*, sizeof...(kernels)> kList = {&kernels...};
  return kList;
}

}  // namespace

std::string KernelDesc::describe() const {
  return fmt::format("{} {}", name_of(device), name_of(dtype));
}

Refusal needs_cpu(const KernelDesc& desc) {
  if (desc.device == Device::kCpu) return std::nullopt;
  return fmt::format("runs on cpu, not on {}", name_of(desc.device));
}

template <>
KernelList<Matmul> kernels_of() {
  return list<Matmul, cpu::matmul_sgemm, cpu::matmul_onednn, cpu::matmul_converted, reference::matmul>();
}
template <>
KernelList<EmbeddingForward> kernels_of() {
  return list<EmbeddingForward, cpu::embedding_forward, reference::embedding_forward>();
}
template <>
KernelList<EmbeddingBackward> kernels_of() {
  return list<EmbeddingBackward, cpu::embedding_backward, reference::embedding_backward>();
}
template <>
KernelList<RmsNormForward> kernels_of() {
  return list<RmsNormForward, cpu::rms_norm_forward, reference::rms_norm_forward>();
}
template <>
KernelList<RmsNormBackward> kernels_of() {
  return list<RmsNormBackward, cpu::rms_norm_backward, reference::rms_norm_backward>();
}
template <>
KernelList<RotaryTable> kernels_of() {
  return list<RotaryTable, cpu::rotary_table, reference::rotary_table>();
}
template <>
KernelList<Rotary> kernels_of() {
  return list<Rotary, cpu::rotary, reference::rotary>();
}
template <>
KernelList<SwigluForward> kernels_of() {
  return list<SwigluForward, cpu::swiglu_forward, reference::swiglu_forward>();
}
template <>
KernelList<SwigluBackward> kernels_of() {
  return list<SwigluBackward, cpu::swiglu_backward, reference::swiglu_backward>();
}
template <>
KernelList<Add> kernels_of() {
  return list<Add, cpu::add, reference::add>();
}
template <>
KernelList<Cast> kernels_of() {
  return list<Cast, cpu::cast, reference::cast>();
}
template <>
KernelList<AddRowSum> kernels_of() {
  return list<AddRowSum, cpu::add_row_sum, reference::add_row_sum>();
}
template <>
KernelList<FillZero> kernels_of() {
  return list<FillZero, cpu::fill_zero, reference::fill_zero>();
}
template <>
KernelList<HeadLoss> kernels_of() {
  return list<HeadLoss, cpu::head_loss, reference::head_loss>();
}
template <>
KernelList<SumOfSquares> kernels_of() {
  return list<SumOfSquares, cpu::sum_of_squares, reference::sum_of_squares>();
}
template <>
KernelList<AdamW> kernels_of() {
  return list<AdamW, cpu::adamw, reference::adamw>();
}

}  // namespace longspan
