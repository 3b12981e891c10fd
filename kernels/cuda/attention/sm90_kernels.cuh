// The attention kernels for Hopper as the host sees them: arguments and launches. Head sizes are 64 and 128.
#pragma once

#include <cstdint>

#include "device/bulk_copy.cuh"
#include "device/launch.cuh"
#include "kernels/cuda/attention/device_tiles.h"

namespace longspan::cuda::sm90 {

// Rows [T, H] or [T, H, D] of fp32 in the device's memory; strides in elements.
struct Rows {
  float* data = nullptr;
  std::int64_t row_stride = 0, head_stride = 0;
  __device__ float* at(std::int64_t row, int head) const { return data + row * row_stride + head * head_stride; }
};

struct ForwardArgs {
  TensorMap q, k, v;
  DeviceTiles tiles;
  Rows out, lse;
  int num_queries = 0, heads_per_kv_head = 1;
  float scale = 0;
  SoftmaxOrigin origin = SoftmaxOrigin::kMaximum;
};

struct BackwardArgs {
  TensorMap q, k, v, dout;
  DeviceTiles tiles;
  Rows lse, delta;
  Rows dq;      // of the kernel for queries
  Rows dk, dv;  // of the kernel for keys
  int num_queries = 0, num_keys = 0, heads_per_kv_head = 1;
  float scale = 0;
};

// Queued on exec.stream for `num_blocks` persistent blocks. What boxes the tensor maps have: see sm90_shapes.h.
void launch_forward(const Exec& exec, int head_dim, int num_blocks, const ForwardArgs& args);
void launch_backward_queries(const Exec& exec, int head_dim, int num_blocks, const BackwardArgs& args);
void launch_backward_keys(const Exec& exec, int head_dim, int num_blocks, const BackwardArgs& args);

}  // namespace longspan::cuda::sm90
