// Tensors for tests: owned, guarded, filled at random from a fixed seed; and the one way to compare them.
#pragma once

#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/core/arena.h"
#include "kernels/core/exec.h"
#include "kernels/core/tensor.h"

namespace longspan::testing {

// The memory offset, in elements, of the index-th element in row-major order.
inline std::int64_t offset_of(const Tensor& tensor, std::int64_t index) {
  std::int64_t offset = 0;
  for (int d = tensor.dims - 1; d >= 0; --d) {
    offset += index % tensor.shape[d] * tensor.stride[d];
    index /= tensor.shape[d];
  }
  return offset;
}

// The index-th element, of any dtype and strides, as double.
inline double get_value(const Tensor& tensor, std::int64_t index) {
  const std::int64_t at = offset_of(tensor, index);
  switch (tensor.dtype) {
    case DType::kF32: return tensor.get<float>()[at];
    case DType::kBF16: return static_cast<float>(tensor.get<bf16>()[at]);
    case DType::kI32: return tensor.get<std::int32_t>()[at];
    case DType::kI64: return static_cast<double>(tensor.get<std::int64_t>()[at]);
    case DType::kI8: return tensor.get<std::int8_t>()[at];
    case DType::kF64: return tensor.get<double>()[at];
  }
  return 0;
}

inline void set_value(const Tensor& tensor, std::int64_t index, double value) {
  const std::int64_t at = offset_of(tensor, index);
  switch (tensor.dtype) {
    case DType::kF32: tensor.get<float>()[at] = static_cast<float>(value); break;
    case DType::kBF16: tensor.get<bf16>()[at] = bf16(static_cast<float>(value)); break;
    case DType::kI32: tensor.get<std::int32_t>()[at] = static_cast<std::int32_t>(value); break;
    case DType::kI64: tensor.get<std::int64_t>()[at] = static_cast<std::int64_t>(value); break;
    case DType::kI8: tensor.get<std::int8_t>()[at] = static_cast<std::int8_t>(value); break;
    case DType::kF64: tensor.get<double>()[at] = value; break;
  }
}

inline std::vector<double> values_of(const Tensor& tensor) {
  std::vector<double> values(static_cast<std::size_t>(tensor.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = get_value(tensor, static_cast<std::int64_t>(i));
  return values;
}

inline void set_values(const Tensor& tensor, const std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) set_value(tensor, static_cast<std::int64_t>(i), values[i]);
}

// Normal deviates, the same for a seed on every run.
inline std::vector<double> random_normal(std::int64_t count, std::uint64_t seed, double scale = 1) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = normal(generator);
  return values;
}

// Owns the memory of one tensor. Every byte that is no element's holds a pattern, before, after and, with gaps, between
// the rows; guards_intact tells whether all of it is still there.
class TestTensor {
 public:
  struct Gaps {
    std::int64_t row = 0;    // elements after each row of the last dimension
    std::int64_t outer = 0;  // elements after each slice of the first dimension
  };

  TestTensor(DType dtype, std::vector<std::int64_t> shape) : TestTensor(dtype, std::move(shape), Gaps{}) {}
  TestTensor(DType dtype, std::vector<std::int64_t> shape, Gaps gaps) {
    view_.dtype = dtype;
    view_.dims = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), view_.shape.begin());
    std::int64_t step = 1;
    for (int d = view_.dims - 1; d >= 0; --d) {
      view_.stride[d] = step;
      step *= shape[d];
      if (d == view_.dims - 1) step += gaps.row;
      if (d == 1) step += gaps.outer;
    }
    bytes_.assign(static_cast<std::size_t>((step + 2 * kGuardElements) * size_of(dtype)), kPattern);
    view_.data = bytes_.data() + kGuardElements * size_of(dtype);
  }
  TestTensor(TestTensor&&) = default;
  TestTensor(const TestTensor&) = delete;
  TestTensor& operator=(const TestTensor&) = delete;

  const Tensor& view() const { return view_; }
  operator const Tensor&() const { return view_; }  // NOLINT: used as one

  TestTensor& fill(const std::vector<double>& values) {
    set_values(view_, values);
    return *this;
  }
  TestTensor& fill_normal(std::uint64_t seed, double scale = 1) {
    return fill(random_normal(view_.numel(), seed, scale));
  }
  std::vector<double> values() const { return values_of(view_); }
  // All its memory, guards and gaps included.
  std::vector<unsigned char>& bytes() { return bytes_; }
  std::int64_t num_bytes() const { return static_cast<std::int64_t>(bytes_.size()); }

  bool guards_intact() const {
    std::vector<char> owned(bytes_.size());
    const std::int64_t size = size_of(view_.dtype);
    for (std::int64_t i = 0; i < view_.numel(); ++i)
      std::memset(&owned[static_cast<std::size_t>((kGuardElements + offset_of(view_, i)) * size)], 1,
                  static_cast<std::size_t>(size));
    for (std::size_t b = 0; b < bytes_.size(); ++b)
      if (!owned[b] && bytes_[b] != kPattern) return false;
    return true;
  }

 private:
  static constexpr std::int64_t kGuardElements = 32;
  static constexpr unsigned char kPattern = 0xa5;

  std::vector<unsigned char> bytes_;
  Tensor view_;
};

// ||actual - expected|| / ||expected|| over the finite places (the norm of the difference where all expected are 0).
// Infinity when sizes, or the places of NaN and of either infinity, differ.
inline double relative_error(const std::vector<double>& actual, const std::vector<double>& expected) {
  constexpr double kDisagree = std::numeric_limits<double>::infinity();
  if (actual.size() != expected.size()) return kDisagree;
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(expected[i])) {
      const bool same = std::isnan(expected[i]) ? std::isnan(actual[i]) : actual[i] == expected[i];
      if (!same) return kDisagree;
      continue;
    }
    if (!std::isfinite(actual[i])) return kDisagree;
    difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

// An Exec with a workspace of its own.
class TestExec {
 public:
  explicit TestExec(int num_threads = 1, std::int64_t workspace_bytes = std::int64_t{1} << 28)
      : arena_("test workspace", workspace_bytes), exec_{Device::kCpu, num_threads, &arena_} {}

  const Exec& exec() const { return exec_; }
  operator const Exec&() const { return exec_; }  // NOLINT: used as one
  Arena& arena() { return arena_; }

 private:
  Arena arena_;
  Exec exec_;
};

}  // namespace longspan::testing
