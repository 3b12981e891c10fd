// Range: a stretch of host code by its name in a profiler's time line (Nsight Systems shows what a GPU did for it).
#pragma once

#include "kernels/core/device_runtime.h"

namespace longspan {

// Costs next to nothing where no profiler listens.
class Range {
 public:
  Range(DeviceRuntime& runtime, const char* name) : runtime_(runtime) { runtime.begin_range(name); }
  ~Range() { runtime_.end_range(); }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  DeviceRuntime& runtime_;
};

}  // namespace longspan
