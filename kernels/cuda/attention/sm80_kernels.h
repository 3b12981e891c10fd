// The attention kernels for tensor cores that warps feed, as the host sees them: arguments and launches.
#pragma once

#include <cstdint>

#include "kernels/core/dtype.h"
#include "kernels/core/exec.h"
#include "kernels/core/platform.h"
#include "kernels/cuda/attention/device_tiles.h"
#include "kernels/ops/attention.h"

namespace longspan::cuda::sm80 {

// Rows [T, H] or [T, H, D] in the device's memory; strides in elements.
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t row_stride = 0, head_stride = 0;
  LS_HD T* at(std::int64_t row, std::int64_t head) const { return data + row * row_stride + head * head_stride; }
};

// How rows are read and written: several elements at a time, or one by one where their places do not allow it.
enum class Access : std::uint8_t { kVectors, kElements };

// What all kernels need.
struct Sizes {
  int num_queries = 0, num_keys = 0;
  int heads_per_kv = 1, heads_per_tile = 1;
  int head_dim = 0, value_dim = 0;
  float scale = 0;
  Access inputs = Access::kVectors;   // q, k, v, dout: 16 bytes
  Access results = Access::kVectors;  // two floats
  SoftmaxOrigin origin = SoftmaxOrigin::kMaximum;
};

struct ForwardArgs {
  DeviceTiles tiles;
  Rows<const bf16> q, k, v;
  Rows<float> out, lse;
  Sizes sizes;
};

struct BackwardArgs {
  DeviceTiles tiles;
  Rows<const bf16> q, k, v, dout;
  Rows<const float> lse, delta;
  Rows<float> dq, dk, dv;
  Sizes sizes;
};

// Of dk and dv; wide heads have registers for one of them at a time.
enum class KeyGradients { kBoth, kOfKeys, kOfValues };

// Queued on exec.stream, for the smallest kernel that holds both head sizes. The tiles of the arguments, and
// heads_per_tile, are these functions' to fill in.
void launch_forward(const Exec& exec, const AttentionForward& args, ForwardArgs forward);
void launch_backward_queries(const Exec& exec, const AttentionBackward& args, BackwardArgs backward);
void launch_backward_keys(const Exec& exec, const AttentionBackward& args, const BackwardArgs& backward);

// Calls body(std::integral_constant<int, width>) with the smallest width that holds both sizes.
template <class Body>
void with_width(const AttentionDesc& desc, Body body) {
  const std::int64_t width = desc.head_dim > desc.value_dim ? desc.head_dim : desc.value_dim;
  if (width <= 64)
    body(std::integral_constant<int, 64>());
  else if (width <= 128)
    body(std::integral_constant<int, 128>());
  else
    body(std::integral_constant<int, 256>());
}

template <class T>
Rows<T> rows_of(const Tensor& t) {
  return {t.get<std::remove_const_t<T>>(), t.stride[0], t.stride[1]};
}

}  // namespace longspan::cuda::sm80
