#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ops/kernel_list.h"
#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

constexpr float kMostCode = 127;

// The element at a place of a tensor of any strides.
std::int64_t offset_of(const Tensor& tensor, std::int64_t index) {
  std::int64_t offset = 0;
  for (int d = tensor.dims - 1; d >= 0; --d) {
    offset += index % tensor.shape[d] * tensor.stride[d];
    index /= tensor.shape[d];
  }
  return offset;
}

// The scale is rounded to fp32, as it is stored, and so is the quotient: codes are the same everywhere.
void run_encode(const Exec&, const EncodeRows& args) {
  const std::int64_t width = args.values.size(2);
  for (std::int64_t row = 0; row < args.scale.numel(); ++row) {
    double reach = 0;
    for (std::int64_t e = 0; e < width; ++e) {
      const double x = std::abs(load(args.values, row * width + e));
      reach = std::isfinite(x) ? std::max(reach, x) : std::numeric_limits<double>::quiet_NaN();
      if (std::isnan(reach)) break;
    }
    const float step = static_cast<float>(reach) / kMostCode;
    store(args.scale, row, step);
    for (std::int64_t e = 0; e < width; ++e) {
      const float q = step > 0 ? std::nearbyint(static_cast<float>(load(args.values, row * width + e)) / step) : 0;
      args.codes.get<std::int8_t>()[offset_of(args.codes, row * width + e)] =
          static_cast<std::int8_t>(std::clamp(q, -kMostCode, kMostCode));
    }
  }
}

void run_decode(const Exec&, const DecodeRows& args) {
  const std::int64_t width = args.values.size(2);
  for (std::int64_t i = 0; i < args.values.numel(); ++i)
    store(args.values, i, args.codes.get<std::int8_t>()[offset_of(args.codes, i)] * load(args.scale, i / width));
}

}  // namespace

const Kernel<EncodeRows> kEncodeRows{"reference", needs_cpu, run_encode};
const Kernel<DecodeRows> kDecodeRows{"reference", needs_cpu, run_decode};

}  // namespace longspan::reference
