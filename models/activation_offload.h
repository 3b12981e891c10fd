// ActivationOffload: tensors of layers on their way to pinned host memory and back, on a stream of their own while the
// compute stream goes on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/core/exec.h"
#include "kernels/core/pinned_memory.h"

namespace longspan {

// One a rank. Waiting is between streams alone: no call makes its caller wait but the first, which takes the memory.
class ActivationOffload {
 public:
  // The runtime must outlive it.
  explicit ActivationOffload(DeviceRuntime& runtime);
  ~ActivationOffload();
  ActivationOffload(const ActivationOffload&) = delete;
  ActivationOffload& operator=(const ActivationOffload&) = delete;

  // Room for this many layers. Throws Error(kMemory). What was saved before is gone.
  void begin(std::int64_t layers, std::int64_t bytes_each);
  // Copies what the compute stream (exec's) has written into `tensors` by now; they are contiguous and of
  // bytes_each together at most.
  void save(const Exec& exec, std::int64_t layer, std::span<const Tensor> tensors);
  // What exec's stream is given from now on may write where `layer` was saved from.
  void after_save(const Exec& exec, std::int64_t layer);
  // Brings a saved layer back into tensors of the same sizes, once exec's stream has done what it holds now.
  void fetch(const Exec& exec, std::int64_t layer, std::span<const Tensor> tensors);
  // What exec's stream is given from now on finds them there.
  void after_fetch(const Exec& exec, std::int64_t layer);

 private:
  struct Marks {
    std::unique_ptr<DeviceEvent> saved, fetched;
  };
  std::byte* memory_of(std::int64_t layer) const;

  DeviceRuntime& runtime_;
  const Stream transfers_;
  const std::unique_ptr<DeviceEvent> computed_;
  PinnedMemory memory_;
  std::int64_t bytes_each_ = 0;
  std::vector<Marks> layers_;
};

}  // namespace longspan
