// Times a transformer's operators beside what bounds them on the device they run on: a large copy, a large product.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/core/exec.h"

namespace longspan {

// Sizes of one layer's operands. They count when all of them together do not fit the device's caches.
struct KernelBenchOptions {
  DeviceRuntime* runtime = &host_runtime();
  DType dtype = DType::kF32;  // of activations
  std::int64_t tokens = 4096, hidden = 1024, ffn = 4096, heads = 16, vocab = 32768;
  std::int64_t matrix_size = 0;  // of the square product; 0: 1024 on the host, 8192 on a GPU
  int threads = 1;
  int repetitions = 20;  // after one that is not timed
};

// What an operator cannot do without: each input read once, each output written once, and the operations of the
// formula.
struct KernelWork {
  double bytes = 0, flops = 0;
};

struct KernelBenchRow {
  std::string op;
  KernelWork work;
  double ms = 0, best_ms = 0;  // median and least
  double gb_per_s = 0, tflops = 0;
  // The time that the bytes take at the rate of the copy, or the operations at the rate of the product, whichever is
  // longer, over the time it took. 1: as fast as the device can. Rates are those of this run.
  double of_floor = 0;
};

// A row each, the copy and the product first; handed to `on_row` as soon as it is known. An operator that is not built
// for the device is told to `on_refusal`.
void bench_kernels(const KernelBenchOptions& options, const std::function<void(const KernelBenchRow&)>& on_row,
                   const std::function<void(const std::string& op, const std::string& why)>& on_refusal);

}  // namespace longspan
