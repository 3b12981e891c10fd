// Arrays on a GPU and the means to use one, for tests.
#pragma once

#include <vector>

#include "kernels/core/exec.h"
#include "kernels/cuda/device.h"

namespace longspan::testing {

// An Exec on GPU 0 with a runtime, a stream and a workspace of its own.
class DeviceExec {
 public:
  explicit DeviceExec(std::int64_t workspace_bytes = std::int64_t{1} << 24)
      : runtime_(make_device_runtime(0)),
        arena_("test workspace", workspace_bytes, *runtime_),
        exec_{Device::kCuda, 1, &arena_, runtime_.get(), runtime_->make_stream(StreamUse::kCompute)} {}
  ~DeviceExec() { runtime_->destroy(exec_.stream); }
  DeviceExec(const DeviceExec&) = delete;
  DeviceExec& operator=(const DeviceExec&) = delete;

  const Exec& exec() const { return exec_; }
  operator const Exec&() const { return exec_; }  // NOLINT: used as one
  DeviceRuntime& runtime() const { return *runtime_; }
  Arena& arena() { return arena_; }

 private:
  std::unique_ptr<DeviceRuntime> runtime_;
  Arena arena_;
  Exec exec_;
};

// Elements in the memory of an Exec's device.
template <class T>
class DeviceArray {
 public:
  DeviceArray(const Exec& exec, const std::vector<T>& values) : exec_(exec), size_(values.size()) {
    data_ = static_cast<T*>(exec.runtime->allocate(num_bytes()));
    LS_REQUIRE(kMemory, data_ || size_ == 0, "{} refuses {} bytes", exec.runtime->name(), num_bytes());
    exec.runtime->copy(exec.stream, data_, values.data(), num_bytes());
    exec.runtime->synchronize(exec.stream);
  }
  ~DeviceArray() { exec_.runtime->release(data_, num_bytes()); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  // After all that the stream holds.
  std::vector<T> values() const {
    std::vector<T> all(size_);
    exec_.runtime->copy(exec_.stream, all.data(), data_, num_bytes());
    exec_.runtime->synchronize(exec_.stream);
    return all;
  }

 private:
  std::int64_t num_bytes() const { return static_cast<std::int64_t>(size_ * sizeof(T)); }

  Exec exec_;
  std::size_t size_;
  T* data_ = nullptr;
};

}  // namespace longspan::testing
