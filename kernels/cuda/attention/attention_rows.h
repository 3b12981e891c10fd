// Rows of attention's operands as kernels take them.
#pragma once

#include "kernels/core/exec.h"
#include "kernels/core/platform.h"
#include "kernels/ops/attention.h"

namespace longspan::cuda {

// Rows [T, H] or [T, H, D] in the device's memory; strides in elements.
struct AttentionRows {
  void* data = nullptr;
  std::int64_t row_stride = 0, head_stride = 0;
  template <class T>
  LS_HD T* at(std::int64_t row, std::int64_t head) const {
    return static_cast<T*>(data) + row * row_stride + head * head_stride;
  }
};
inline AttentionRows attention_rows(const Tensor& t) {
  return {t.data, t.stride[0], t.stride[1]};
}

}  // namespace longspan::cuda
