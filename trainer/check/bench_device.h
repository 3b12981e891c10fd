// Where a benchmark runs: a device with a queue, memory for operands and scratch, and the device's own clock.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <vector>

#include "kernels/core/exec.h"

namespace longspan {

class BenchDevice {
 public:
  // Takes num_bytes of the device's memory (on the host: of address space). Throws Error(kMemory) where it refuses.
  BenchDevice(DeviceRuntime& runtime, int num_threads, std::int64_t num_bytes);
  ~BenchDevice();
  BenchDevice(const BenchDevice&) = delete;
  BenchDevice& operator=(const BenchDevice&) = delete;

  const Exec& exec() const { return exec_; }
  // Normal deviates, the same for a seed on every device and run; fp32 or bf16. They repeat after some millions, so
  // that filling a GPU's memory takes no minutes.
  Tensor random(std::string_view name, DType dtype, std::initializer_list<std::int64_t> shape, std::uint64_t seed);
  Tensor zeros(std::string_view name, DType dtype, std::initializer_list<std::int64_t> shape);
  // As many whole numbers, int32, evenly spread over 0 … below - 1.
  Tensor indices(std::string_view name, std::int64_t count, std::int64_t below);

  // What each of the bodies took, run one behind the other without a wait between them.
  std::vector<double> time_ms(std::initializer_list<std::function<void()>> bodies);

  std::int64_t peak_bytes() const { return arena_.peak_bytes(); }

 private:
  void upload(const Tensor& to, const void* from, std::int64_t num_bytes);

  Arena arena_;
  Exec exec_;
  std::vector<std::unique_ptr<DeviceEvent>> marks_;
};

}  // namespace longspan
