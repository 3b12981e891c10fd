#include "kernels/core/arena.h"

#include <algorithm>

namespace longspan {
namespace {

constexpr std::int64_t kAlignment = 64;  // a cache line, and the widest vector

double mib(std::int64_t num_bytes) {
  return static_cast<double>(num_bytes) / (1 << 20);
}

}  // namespace

std::string_view name_of(MemoryCategory category) {
  static constexpr std::array<std::string_view, kNumMemoryCategories> kNames = {
      "weights", "gradients", "optimizer", "activations", "transfers", "workspace"};
  return kNames[static_cast<std::size_t>(category)];
}

Arena::Arena(std::string name, std::int64_t num_bytes, DeviceRuntime& runtime)
    : name_(std::move(name)), runtime_(runtime), capacity_(num_bytes) {
  LS_CHECK(num_bytes >= 0, "arena {} of {} bytes", name_, num_bytes);
  if (num_bytes == 0) return;
  memory_ = static_cast<std::byte*>(runtime.allocate(num_bytes));
  LS_REQUIRE(kMemory, memory_ != nullptr,
             "arena {}: {} refuses {:.1f} MiB of memory; use a shorter sequence, more "
             "ranks or model.recompute: selective",
             name_, runtime.name(), mib(num_bytes));
}

Arena::~Arena() {
  if (memory_) runtime_.release(memory_, capacity_);
}

Tensor Arena::allocate(std::string_view name, MemoryCategory category, DType dtype,
                       std::initializer_list<std::int64_t> shape) {
  Tensor tensor(nullptr, dtype, shape, runtime_.device());
  const std::int64_t num_bytes = (tensor.num_bytes() + kAlignment - 1) / kAlignment * kAlignment;
  LS_REQUIRE(kMemory, num_bytes <= capacity_ - used_,
             "arena {} is full: {} {} needs {:.1f} MiB, {:.1f} of {:.1f} MiB are free; use a shorter sequence, more "
             "ranks or model.recompute: selective\n{}",
             name_, name, tensor.describe(), mib(num_bytes), mib(capacity_ - used_), mib(capacity_), report());
  tensor.data = memory_ + used_;
  used_ += num_bytes;
  by_category_[static_cast<std::size_t>(category)] += num_bytes;
  live_.push_back({std::string(name), category, num_bytes});
  if (used_ > peak_) {
    peak_ = used_;
    at_peak_ = by_category_;
  }
  return tensor;
}

Tensor Arena::allocate_zeroed(std::string_view name, MemoryCategory category, DType dtype,
                              std::initializer_list<std::int64_t> shape) {
  Tensor tensor = allocate(name, category, dtype, shape);
  runtime_.zero({}, tensor.data, tensor.num_bytes());
  runtime_.synchronize({});
  return tensor;
}

std::int64_t Arena::category_bytes_at_peak(MemoryCategory category) const {
  return at_peak_[static_cast<std::size_t>(category)];
}

std::string Arena::report() const {
  std::string text = fmt::format("arena {}: {:.1f} MiB in use, peak {:.1f}, capacity {:.1f}\n", name_, mib(used_),
                                 mib(peak_), mib(capacity_));
  std::vector<Allocation> largest = live_;
  std::stable_sort(largest.begin(), largest.end(),
                   [](const Allocation& a, const Allocation& b) { return a.num_bytes > b.num_bytes; });
  for (const Allocation& a : largest)
    text += fmt::format("  {:>10.2f} MiB  {:<12} {}\n", mib(a.num_bytes), name_of(a.category), a.name);
  for (int c = 0; c < kNumMemoryCategories; ++c)
    if (by_category_[static_cast<std::size_t>(c)] > 0)
      text += fmt::format("  {:>10.2f} MiB  all {}\n", mib(by_category_[static_cast<std::size_t>(c)]),
                          name_of(static_cast<MemoryCategory>(c)));
  return text;
}

Arena::Scope::Scope(Arena& arena) : arena_(arena), used_(arena.used_), count_(arena.live_.size()) {}

Arena::Scope::~Scope() {
  while (arena_.live_.size() > count_) {
    const Allocation& last = arena_.live_.back();
    arena_.by_category_[static_cast<std::size_t>(last.category)] -= last.num_bytes;
    arena_.live_.pop_back();
  }
  arena_.used_ = used_;
}

}  // namespace longspan
