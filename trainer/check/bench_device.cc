#include "trainer/check/bench_device.h"

#include <algorithm>
#include <numeric>

#include "trainer/check/bench_tools.h"

namespace longspan {
namespace {

// A prime: no dimension of a tensor divides it, so that rows differ.
constexpr std::int64_t kPeriod = 4194301;

}  // namespace

BenchDevice::BenchDevice(DeviceRuntime& runtime, int num_threads, std::int64_t num_bytes)
    : arena_("bench", num_bytes, runtime) {
  exec_ = {runtime.device(), num_threads, &arena_, &runtime, runtime.make_stream(StreamUse::kCompute)};
}

BenchDevice::~BenchDevice() {
  exec_.runtime->destroy(exec_.stream);
}

Tensor BenchDevice::random(std::string_view name, DType dtype, std::initializer_list<std::int64_t> shape,
                           std::uint64_t seed) {
  const Tensor tensor = arena_.allocate(name, MemoryCategory::kActivations, dtype, shape);
  const std::int64_t count = std::min(kPeriod, tensor.numel());
  std::vector<std::byte> values(static_cast<std::size_t>(count * size_of(dtype)));
  fill_random(Tensor(values.data(), dtype, {count}), seed);
  upload(tensor, values.data(), static_cast<std::int64_t>(values.size()));
  return tensor;
}

Tensor BenchDevice::zeros(std::string_view name, DType dtype, std::initializer_list<std::int64_t> shape) {
  return arena_.allocate_zeroed(name, MemoryCategory::kActivations, dtype, shape);
}

Tensor BenchDevice::indices(std::string_view name, std::int64_t count, std::int64_t below) {
  const Tensor tensor = arena_.allocate(name, MemoryCategory::kActivations, DType::kI32, {count});
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  // Steps by the golden ratio's part of the range come near each other late; without a common divisor they reach all.
  std::int64_t step = std::max<std::int64_t>(1, below * 610 / 987);
  while (std::gcd(step, below) > 1) ++step;
  for (std::int64_t i = 0; i < count; ++i)
    values[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i * step % below);
  upload(tensor, values.data(), tensor.num_bytes());
  return tensor;
}

std::vector<double> BenchDevice::time_ms(std::initializer_list<std::function<void()>> bodies) {
  while (marks_.size() <= bodies.size()) marks_.push_back(exec_.runtime->make_event(EventTiming::kOn));
  std::size_t reached = 0;
  marks_[reached]->record(exec_.stream);
  for (const auto& body : bodies) {
    body();
    marks_[++reached]->record(exec_.stream);
  }
  marks_[reached]->wait();
  std::vector<double> times;
  for (std::size_t i = 1; i <= reached; ++i) times.push_back(marks_[i]->milliseconds_since(*marks_[i - 1]));
  return times;
}

void BenchDevice::upload(const Tensor& to, const void* from, std::int64_t num_bytes) {
  auto* there = static_cast<std::byte*>(to.data);
  for (std::int64_t done = 0; done < to.num_bytes(); done += num_bytes)
    exec_.runtime->copy(exec_.stream, there + done, from, std::min(num_bytes, to.num_bytes() - done));
  exec_.runtime->synchronize(exec_.stream);
}

}  // namespace longspan
