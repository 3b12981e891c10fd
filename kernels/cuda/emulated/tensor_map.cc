#include "device/bulk_copy.cuh"

namespace longspan::cuda {

TensorMap make_tensor_map(const Tensor& rows, int box_rows) {
  const auto is_multiple_of_16 = [](std::int64_t num_bytes) { return num_bytes % 16 == 0; };
  LS_CHECK(rows.dims == 3 && rows.stride[2] == 1 && box_rows > 0 && box_rows <= 256 &&
               is_multiple_of_16(reinterpret_cast<std::int64_t>(rows.data)) && is_multiple_of_16(rows.stride[0] * 2) &&
               is_multiple_of_16(rows.stride[1] * 2),
           "the copy engine cannot take boxes of {} rows of {}", box_rows, rows.describe());
  return {rows.get<bf16>(),
          {rows.shape[2], rows.shape[1], rows.shape[0]},
          {rows.stride[2], rows.stride[1], rows.stride[0]},
          box_rows};
}

}  // namespace longspan::cuda
