#include "kernels/core/host_copy.h"

namespace longspan {

void copy_tensor(const Exec& exec, const Tensor& from, const Tensor& to) {
  LS_CHECK(from.dtype == to.dtype && from.numel() == to.numel() && from.is_contiguous() && to.is_contiguous(),
           "copy of {} to {}", from.describe(), to.describe());
  for (const Tensor* end : {&from, &to})
    LS_CHECK(end->device == exec.device || end->device == Device::kCpu, "copy on {} of {} on {}", name_of(exec.device),
             end->describe(), name_of(end->device));
  if (from.numel() > 0) exec.runtime->copy(exec.stream, to.data, from.data, from.num_bytes());
}

std::vector<double> read_doubles(const Exec& exec, const Tensor& figures) {
  std::vector<double> values(static_cast<std::size_t>(figures.numel()));
  copy_tensor(exec, figures, Tensor(values.data(), DType::kF64, {figures.numel()}));
  exec.runtime->synchronize(exec.stream);
  return values;
}

HostCopy::HostCopy(const Exec& exec, const Tensor& tensor) : view_(tensor) {
  if (tensor.device == Device::kCpu || !tensor) return;
  memory_.resize(static_cast<std::size_t>(tensor.num_bytes()));
  view_.data = memory_.data();
  view_.device = Device::kCpu;
  copy_tensor(exec, tensor, view_);
  exec.runtime->synchronize(exec.stream);
}

}  // namespace longspan
