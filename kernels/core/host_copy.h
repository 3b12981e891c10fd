// Copies between tensors on whatever device, and figures brought to the host.
#pragma once

#include <vector>

#include "kernels/core/exec.h"

namespace longspan {

// Queues to = from on exec.stream: both contiguous, of one dtype and as many elements, each on exec's device or on the
// host. The caller may go on; where one end is plain host memory it waits (see DeviceRuntime::copy).
void copy_tensor(const Exec& exec, const Tensor& from, const Tensor& to);

// The values of an fp64 tensor once all that exec.stream holds is done: the caller waits. Few of them.
std::vector<double> read_doubles(const Exec& exec, const Tensor& figures);

}  // namespace longspan
