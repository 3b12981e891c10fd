#include "kernels/ops/checks.h"

#include <algorithm>

namespace longspan {
namespace {

// One past the last byte that the tensor may touch.
const char* end_of(const Tensor& tensor) {
  std::int64_t last = 0;
  for (int d = 0; d < tensor.dims; ++d) last += (tensor.shape[d] - 1) * tensor.stride[d];
  return static_cast<const char*>(tensor.data) + (last + 1) * size_of(tensor.dtype);
}

}  // namespace

bool has_contiguous_rows(const Tensor& tensor) {
  return tensor.dims > 0 && (tensor.stride[tensor.dims - 1] == 1 || tensor.shape[tensor.dims - 1] <= 1);
}

void OperandChecks::expect_strides(std::string_view name, const Tensor& tensor, Strides strides) const {
  LS_CHECK(tensor.device == device_, "{}: {} {} lies on {}, the call runs on {}", op_, name, tensor.describe(),
           name_of(tensor.device), name_of(device_));
  const bool fits = strides == Strides::kContiguous ? tensor.is_contiguous() : has_contiguous_rows(tensor);
  LS_CHECK(fits || tensor.numel() == 0, "{}: {} {} must be contiguous{}", op_, name, tensor.describe(),
           strides == Strides::kRows ? " in its last dimension" : "");
}

void OperandChecks::expect(std::string_view name, const Tensor& tensor, DType dtype,
                           std::initializer_list<std::int64_t> shape, Strides strides) const {
  const bool same =
      tensor.dims == static_cast<int>(shape.size()) && std::equal(shape.begin(), shape.end(), tensor.shape.begin());
  LS_CHECK(same && tensor.dtype == dtype, "{}: {} is {}, expected {}", op_, name, tensor.describe(),
           Tensor(nullptr, dtype, shape).describe());
  expect_strides(name, tensor, strides);
}

void OperandChecks::expect_like(std::string_view name, const Tensor& tensor, DType dtype, const Tensor& other,
                                Strides strides) const {
  LS_CHECK(tensor.same_shape(other) && tensor.dtype == dtype, "{}: {} is {}, expected {} shaped like {}", op_, name,
           tensor.describe(), name_of(dtype), other.describe());
  expect_strides(name, tensor, strides);
}

void OperandChecks::expect_float(std::string_view name, const Tensor& tensor, int min_dims, int max_dims) const {
  LS_CHECK(tensor.dims >= min_dims && tensor.dims <= max_dims, "{}: {} is {}, expected {} to {} dimensions", op_, name,
           tensor.describe(), min_dims, max_dims);
  LS_CHECK(tensor.dtype == DType::kF32 || tensor.dtype == DType::kBF16, "{}: {} is {}, expected fp32 or bf16", op_,
           name, tensor.describe());
  expect_strides(name, tensor, Strides::kRows);
}

void OperandChecks::expect_apart(std::string_view name, const Tensor& tensor, std::string_view other_name,
                                 const Tensor& other) const {
  if (tensor.numel() == 0 || other.numel() == 0) return;
  const bool apart =
      end_of(tensor) <= static_cast<const char*>(other.data) || end_of(other) <= static_cast<const char*>(tensor.data);
  LS_CHECK(apart, "{}: {} {} and {} {} share memory", op_, name, tensor.describe(), other_name, other.describe());
}

void OperandChecks::expect_between(std::string_view name, const Tensor& values, std::int64_t lowest,
                                   std::int64_t highest) const {
  if (values.device != Device::kCpu) return;
  const auto* value = values.get<std::int32_t>();
  for (std::int64_t t = 0; t < values.size(0); ++t)
    LS_REQUIRE(
        kData, lowest <= value[t] && value[t] <= highest,
        "{}: {} {} at place {} of {} is outside {} … {}; check that the data was made with this model's tokenizer", op_,
        name, value[t], t, values.size(0), lowest, highest);
}

}  // namespace longspan
