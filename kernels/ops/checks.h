// Checks of an operator's operands; every message names operator, operand and shapes.
#pragma once

#include <initializer_list>
#include <string_view>

#include "kernels/core/exec.h"

namespace longspan {

enum class Strides : std::uint8_t {
  kContiguous,  // row-major without gaps
  kRows,        // the last dimension is contiguous, the others may be strided
};

// One call of a public function. All checks throw Error(kInternal).
class OperandChecks {
 public:
  OperandChecks(std::string_view op, const Exec& exec) : op_(op), device_(exec.device) {}

  // Of this dtype and shape, and on the call's device.
  void expect(std::string_view name, const Tensor& tensor, DType dtype, std::initializer_list<std::int64_t> shape,
              Strides strides = Strides::kContiguous) const;
  // The same shape as another operand.
  void expect_like(std::string_view name, const Tensor& tensor, DType dtype, const Tensor& other,
                   Strides strides = Strides::kRows) const;
  // fp32 or bf16, on the call's device, with a contiguous last dimension and dims between these bounds.
  void expect_float(std::string_view name, const Tensor& tensor, int min_dims, int max_dims) const;
  // Neither shares a byte with the other.
  void expect_apart(std::string_view name, const Tensor& tensor, std::string_view other_name,
                    const Tensor& other) const;

  // Throws Error(kData), naming the place, at the first value of an int32 [T] tensor outside lowest … highest. Looks at
  // host memory alone: a device's values are checked where they come in (the trainer's loader holds every token against
  // the vocabulary as it reads it), and kernels there must not follow a value that is outside.
  void expect_between(std::string_view name, const Tensor& values, std::int64_t lowest, std::int64_t highest) const;

 private:
  void expect_strides(std::string_view name, const Tensor& tensor, Strides strides) const;

  std::string_view op_;
  Device device_;
};

// Whether the last dimension is contiguous.
bool has_contiguous_rows(const Tensor& tensor);

}  // namespace longspan
