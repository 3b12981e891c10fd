// Exec: where and with what an operator runs, passed explicitly. There are no globals.
#pragma once

#include "kernels/core/arena.h"
#include "kernels/core/device_runtime.h"
#include "kernels/core/tensor.h"

namespace longspan {

struct Exec {
  Device device = Device::kCpu;
  int num_threads = 1;                       // OpenMP threads an operator of this rank may use
  Arena* workspace = nullptr;                // scratch; operators open a Scope in it and leave it as they found it
  DeviceRuntime* runtime = &host_runtime();  // of `device`
  Stream stream{};  // operators queue their work here and return; on the host it is done when they return
  int reserved_multiprocessors = 0;  // of a GPU: left to communication by kernels that would fill all of them
};

}  // namespace longspan
