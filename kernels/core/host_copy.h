// Copies between tensors on whatever device, and figures brought to the host.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/core/exec.h"

namespace longspan {

// Queues to = from on exec.stream: both contiguous, of one dtype and as many elements, each on exec's device or on the
// host. The caller may go on; where one end is plain host memory it waits (see DeviceRuntime::copy).
void copy_tensor(const Exec& exec, const Tensor& from, const Tensor& to);

// The values of an fp64 tensor once all that exec.stream holds is done: the caller waits. Few of them.
std::vector<double> read_doubles(const Exec& exec, const Tensor& figures);

// A tensor's elements where the host can read them: the tensor itself where it lives on the host, else a contiguous
// copy of it as it is once all that exec.stream holds is done: the caller waits.
class HostCopy {
 public:
  HostCopy(const Exec& exec, const Tensor& tensor);
  const Tensor& tensor() const { return view_; }
  HostCopy(const HostCopy&) = delete;
  HostCopy& operator=(const HostCopy&) = delete;

 private:
  std::vector<std::byte> memory_;
  Tensor view_;
};

// fill(tensor), where fill writes every element from the host; the caller waits until they are where the tensor lives.
template <class Fill>
void fill_on_host(const Exec& exec, const Tensor& tensor, Fill fill) {
  if (tensor.device == Device::kCpu) return fill(tensor);
  std::vector<std::byte> memory(static_cast<std::size_t>(tensor.num_bytes()));
  Tensor view = tensor;
  view.data = memory.data();
  view.device = Device::kCpu;
  fill(view);
  copy_tensor(exec, view, tensor);
  exec.runtime->synchronize(exec.stream);
}

}  // namespace longspan
