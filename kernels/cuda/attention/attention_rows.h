// Rows of attention's operands and lists of tasks as kernels take them.
#pragma once

#include <span>

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

// Queued on exec.stream; lies in exec.workspace and is released with this object.
class UploadedTasks {
 public:
  UploadedTasks(const Exec& exec, std::span<const AttentionTask> tasks);
  const AttentionTask* data() const { return data_; }
  int size() const { return size_; }

 private:
  Arena::Scope scope_;
  const AttentionTask* data_ = nullptr;
  int size_ = 0;
};

}  // namespace longspan::cuda
