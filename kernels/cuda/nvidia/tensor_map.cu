#include <cudaTypedefs.h>

#include "device/bulk_copy.cuh"
#include "kernels/cuda/runtime/status.h"

namespace longspan::cuda {
namespace {

// The driver's own function, found at run time: a program that links the driver does not start without one.
PFN_cuTensorMapEncodeTiled_v12000 encode_function() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult answer = cudaDriverEntryPointSymbolNotFound;
  expect_success(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &answer),
                 "find cuTensorMapEncodeTiled");
  LS_REQUIRE(kEnvironment, answer == cudaDriverEntryPointSuccess && found,
             "the driver has no cuTensorMapEncodeTiled; install one for CUDA 12 or newer");
  return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(found);
}

}  // namespace

TensorMap make_tensor_map(const Tensor& rows, int box_rows) {
  static const PFN_cuTensorMapEncodeTiled_v12000 encode = encode_function();
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(rows.shape[2]), static_cast<cuuint64_t>(rows.shape[1]),
                              static_cast<cuuint64_t>(rows.shape[0])};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(rows.stride[1]) * 2,
                                static_cast<cuuint64_t>(rows.stride[0]) * 2};
  const cuuint32_t box[] = {kPanelColumns, 1, static_cast<cuuint32_t>(box_rows)}, every[] = {1, 1, 1};
  TensorMap map;
  const CUresult result = encode(&map.bits, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, rows.get<bf16>(), sizes, strides, box,
                                 every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  LS_REQUIRE(kEnvironment, result == CUDA_SUCCESS,
             "the driver makes no tensor map for boxes of {} rows of {} (error {})", box_rows, rows.describe(),
             static_cast<int>(result));
  return map;
}

}  // namespace longspan::cuda
