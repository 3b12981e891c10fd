// Rows as bytes with one scale each, and back: a warp a row.
#include <cmath>

#include "device/launch.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/plan.h"
#include "kernels/cuda/rows.cuh"

namespace longspan::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr float kMostCode = 127;

template <class T>
struct CodecArgs {
  Rows<T> values;
  Rows<std::int8_t> codes;
  Rows<float> scale;  // rows of one element
  std::int64_t rows, width;
  Access access, code_access;
};

using Codes = Vector<std::int8_t, kChunk>;

template <class T>
__global__ void __launch_bounds__(kThreads) encode_kernel(CodecArgs<T> a) {
  for (std::int64_t row = std::int64_t{blockIdx.x} * kWarps + warp_of_block(); row < a.rows;
       row += std::int64_t{gridDim.x} * kWarps) {
    const T* values = a.values[row];
    std::int8_t* codes = a.codes[row];
    float x[kChunk], reach = 0, fault = 0;
    for (std::int64_t begin = lane() * kChunk; begin < a.width; begin += kWarp * kChunk) {
      load_chunk(values + begin, chunk_length(begin, a.width), a.access, x);
      for (int i = 0; i < kChunk; ++i) {
        reach = reach < std::abs(x[i]) ? std::abs(x[i]) : reach;
        fault += x[i] * 0.0f;  // 0, or NaN from the first number that is not finite
      }
    }
    // Codes follow from the scale as it is stored: a row too small for its quotient keeps to the bound all the same.
    const float step = (warp_max(reach) + warp_sum(fault)) / kMostCode;
    if (lane() == 0) *a.scale[row] = step;
    for (std::int64_t begin = lane() * kChunk; begin < a.width; begin += kWarp * kChunk) {
      const int count = chunk_length(begin, a.width);
      load_chunk(values + begin, count, a.access, x);
      Codes chunk;
      for (int i = 0; i < kChunk; ++i) {
        const float q = step > 0 ? std::nearbyint(x[i] / step) : 0.0f;
        chunk[i] = static_cast<std::int8_t>(q < -kMostCode ? -kMostCode : q > kMostCode ? kMostCode : q);
      }
      if (count == kChunk && a.code_access == Access::kVectors)
        store_vector(codes + begin, chunk);
      else
        for (int i = 0; i < count; ++i) codes[begin + i] = chunk[i];
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) decode_kernel(CodecArgs<T> a) {
  for (std::int64_t row = std::int64_t{blockIdx.x} * kWarps + warp_of_block(); row < a.rows;
       row += std::int64_t{gridDim.x} * kWarps) {
    const std::int8_t* codes = a.codes[row];
    const float step = *a.scale[row];
    for (std::int64_t begin = lane() * kChunk; begin < a.width; begin += kWarp * kChunk) {
      const int count = chunk_length(begin, a.width);
      Codes chunk{};
      if (count == kChunk && a.code_access == Access::kVectors)
        chunk = load_vector<kChunk>(codes + begin);
      else
        for (int i = 0; i < count; ++i) chunk[i] = codes[begin + i];
      float x[kChunk];
      for (int i = 0; i < kChunk; ++i) x[i] = static_cast<float>(chunk[i]) * step;
      store_chunk(a.values[row] + begin, count, a.access, x);
    }
  }
}

// Eight codes are eight bytes.
Access access_to_codes(const Tensor& codes) {
  bool fits = reinterpret_cast<std::uintptr_t>(codes.data) % kChunk == 0;
  for (int d = 0; d + 1 < codes.dims; ++d) fits &= codes.stride[d] % kChunk == 0;
  return fits ? Access::kVectors : Access::kElements;
}

template <class T>
CodecArgs<T> codec_args(const Tensor& values, const Tensor& codes, const Tensor& scale) {
  Tensor scale_rows = scale;  // [n, h] as [n, h, 1]
  scale_rows.dims = 3;
  scale_rows.shape[2] = scale_rows.stride[2] = 1;
  return {.values = make_rows<T>(values),
          .codes = make_rows<std::int8_t>(codes),
          .scale = make_rows<float>(scale_rows),
          .rows = values.shape[0] * values.shape[1],
          .width = values.shape[2],
          .access = access_to({values}),
          .code_access = access_to_codes(codes)};
}

Launch launch_for(const Exec& exec, std::int64_t rows) {
  constexpr int kBlocksOfMultiprocessor = 8;
  return {
      .grid = dim3(grid_blocks(ceil_div(rows, kWarps), properties_of(exec).multiprocessors, kBlocksOfMultiprocessor)),
      .block = dim3(kThreads)};
}

void run_encode(const Exec& exec, const EncodeRows& args) {
  with_float_type(args.values.dtype, [&](auto zero) {
    using T = decltype(zero);
    const CodecArgs<T> a = codec_args<T>(args.values, args.codes, args.scale);
    launch(exec, "encode_rows", launch_for(exec, a.rows), encode_kernel<T>, a);
  });
}

void run_decode(const Exec& exec, const DecodeRows& args) {
  with_float_type(args.values.dtype, [&](auto zero) {
    using T = decltype(zero);
    const CodecArgs<T> a = codec_args<T>(args.values, args.codes, args.scale);
    launch(exec, "decode_rows", launch_for(exec, a.rows), decode_kernel<T>, a);
  });
}

}  // namespace

const Kernel<EncodeRows> kEncodeRows{"warp a row", needs_cuda, run_encode};
const Kernel<DecodeRows> kDecodeRows{"warp a row", needs_cuda, run_decode};

}  // namespace longspan::cuda
