// The operands of one call, made alike for every implementation of an operator.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "tests/support/test_tensor.h"

namespace longspan::testing {

// Builds operands in the order in which they are asked for; the same seed and shapes give the same values. Values are
// rounded to `precision`; operands of the call's float dtype are stored as `storage`: fp32 storage of bf16 values is
// how the double-precision reference meets what a bf16 kernel meets, without its rounding of results.
class OperandSet {
 public:
  OperandSet(DType precision, DType storage) : precision_(precision), storage_(storage) {}

  using Shape = std::vector<std::int64_t>;
  using Gaps = TestTensor::Gaps;

  DType precision() const { return precision_; }

  // Read: normal deviates times `scale`.
  Tensor input(const Shape& shape, double scale = 1, Gaps gaps = {}) {
    return random(storage_, precision_, shape, scale, gaps);
  }
  // Read, always fp32.
  Tensor input_f32(const Shape& shape, double scale = 1) { return random(DType::kF32, DType::kF32, shape, scale, {}); }
  // Read: int32 in [0, bound), or these values.
  Tensor indices(std::int64_t count, std::int64_t bound) {
    const Tensor tensor = make(DType::kI32, {count}, {});
    std::mt19937_64 generator(seed());
    for (std::int64_t i = 0; i < count; ++i)
      set_value(tensor, i, static_cast<double>(generator() % static_cast<std::uint64_t>(bound)));
    return tensor;
  }
  Tensor values(DType dtype, const std::vector<double>& values) {
    const Tensor tensor = make(dtype, {static_cast<std::int64_t>(values.size())}, {});
    set_values(tensor, values);
    return tensor;
  }

  // Written: holds the guard pattern before. Compared.
  Tensor output(const Shape& shape, Gaps gaps = {}) { return result(make(storage_, shape, gaps)); }
  // int8.
  Tensor codes(const Shape& shape) { return result(make(DType::kI8, shape, {})); }
  Tensor output_f32(const Shape& shape) { return result(make(DType::kF32, shape, {})); }
  // Read and written. Compared.
  Tensor updated(const Shape& shape, double scale = 1, Gaps gaps = {}) { return result(input(shape, scale, gaps)); }
  Tensor updated_f64(const std::vector<double>& before) { return result(values(DType::kF64, before)); }
  Tensor updated_f32(const Shape& shape, double scale = 1) { return result(input_f32(shape, scale)); }

  std::deque<TestTensor>& tensors() { return tensors_; }
  // The values of all that was written, one vector an operand.
  std::vector<std::vector<double>> results() const {
    std::vector<std::vector<double>> all;
    for (const Tensor& tensor : results_) all.push_back(values_of(tensor));
    return all;
  }
  bool guards_intact() const {
    for (const TestTensor& tensor : tensors_)
      if (!tensor.guards_intact()) return false;
    return true;
  }

 private:
  std::uint64_t seed() const { return 1000 + tensors_.size(); }

  Tensor make(DType dtype, const Shape& shape, Gaps gaps) { return tensors_.emplace_back(dtype, shape, gaps).view(); }

  Tensor random(DType dtype, DType precision, const Shape& shape, double scale, Gaps gaps) {
    const Tensor tensor = make(dtype, shape, gaps);
    std::vector<double> values = random_normal(tensor.numel(), seed(), scale);
    if (precision == DType::kBF16)
      for (double& value : values) value = static_cast<float>(bf16(static_cast<float>(value)));
    set_values(tensor, values);
    return tensor;
  }

  Tensor result(const Tensor& tensor) {
    results_.push_back(tensor);
    return tensor;
  }

  DType precision_, storage_;
  std::deque<TestTensor> tensors_;
  std::vector<Tensor> results_;
};

}  // namespace longspan::testing
