// Matrix products of every layout, size and stride: a block a tile of 64 x 64, in steps of 32 along k. bf16 by the
// matrix units of a warp, fp32 by multiply-adds. It is plain rather than fast: what a library serves comes before it.
#include "device/launch.cuh"
#include "device/matrix.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/matmul_tiled.h"
#include "kernels/cuda/plan.h"
#include "kernels/cuda/rows.cuh"

namespace longspan::cuda {
namespace {

constexpr int kTile = 64, kDepth = 32, kThreads = 128;
constexpr int kChunksOfThread = kTile * kDepth / kChunk / kThreads;

// One of the two factors, as rows of the result's rows or columns: element (r, k) is data[r * row + k * depth].
enum class Along : std::uint8_t { kDepth, kRows };  // where neighbours in memory lie
template <class T>
struct Factor {
  const T* data;
  std::int64_t rows, stride;
  Along along;
  Access access;
};

template <class T>
struct ProductArgs {
  Factor<T> a, b;
  std::int64_t depth;
  void* c;
  std::int64_t c_stride;
  DType c_dtype;
  WriteMode mode;
  const T* bias;         // null: none
  const void* residual;  // of c's dtype; null: none
  std::int64_t residual_stride;
};

// Elements from one row of the tile in shared memory to the next: vectors of bf16 stay aligned, and columns of floats
// lie in different banks.
template <class T>
inline constexpr int kRowStride = sizeof(T) == sizeof(float) ? kDepth + 1 : kDepth + 8;

// A thread's share of a tile of a factor on its way from global to shared memory.
template <class T>
struct Share {
  T at[kChunksOfThread][kChunk];

  __device__ void load(const Factor<T>& f, std::int64_t first_row, std::int64_t first_k, std::int64_t depth) {
    for (int c = 0; c < kChunksOfThread; ++c) {
      const std::int64_t row = first_row + row_of(f.along, c), k = first_k + k_of(f.along, c);
      const bool by_depth = f.along == Along::kDepth;
      const std::int64_t major = by_depth ? row : k, minor = by_depth ? k : row;
      const bool inside = major < (by_depth ? f.rows : depth);
      const int count = inside ? chunk_length(minor, by_depth ? depth : f.rows) : 0;
      const T* from = f.data + major * f.stride + minor;
      constexpr int kLanes = 16 / sizeof(T);
      if (count == kChunk && f.access == Access::kVectors) {
        for (int v = 0; v < kChunk / kLanes; ++v) {
          const Vector<T, kLanes> lanes = load_vector<kLanes>(from + v * kLanes);
          for (int i = 0; i < kLanes; ++i) at[c][v * kLanes + i] = lanes[i];
        }
      } else {
        for (int i = 0; i < kChunk; ++i) at[c][i] = i < count ? from[i] : T(0.0f);
      }
    }
  }
  __device__ void store(Along along, T* tile) const {
    for (int c = 0; c < kChunksOfThread; ++c)
      for (int i = 0; i < kChunk; ++i) {
        const int row = row_of(along, c) + (along == Along::kRows ? i : 0);
        const int k = k_of(along, c) + (along == Along::kDepth ? i : 0);
        tile[row * kRowStride<T> + k] = at[c][i];
      }
  }

 private:
  static __device__ int chunk(int c) { return c * kThreads + static_cast<int>(threadIdx.x); }
  static __device__ int row_of(Along along, int c) {
    return along == Along::kDepth ? chunk(c) / (kDepth / kChunk) : chunk(c) % (kTile / kChunk) * kChunk;
  }
  static __device__ int k_of(Along along, int c) {
    return along == Along::kDepth ? chunk(c) % (kDepth / kChunk) * kChunk : chunk(c) / (kTile / kChunk);
  }
};

// A thread's part of the block's 64 x 64 results.
template <class T>
struct Results;

// Warps in a square; each has 32 x 32 results in fragments of 16 x 8.
template <>
struct Results<bf16> {
  float at[2][4][4] = {};

  __device__ void multiply(const bf16* a, const bf16* b) {
    const int row = warp_of_block() / 2 * 32, column = warp_of_block() % 2 * 32;
    for (int k = 0; k < kDepth; k += 16) {
      std::uint32_t left[2][4], right[4][2];
      for (int i = 0; i < 2; ++i)
        load_matrix_x4(left[i], a + (row + i * 16 + lane() % 16) * kRowStride<bf16> + k + lane() / 16 * 8);
      for (int j = 0; j < 4; j += 2) {
        std::uint32_t pair[4];
        load_matrix_x4(pair,
                       b + (column + j * 8 + lane() / 16 * 8 + lane() % 8) * kRowStride<bf16> + k + lane() / 8 % 2 * 8);
        right[j][0] = pair[0], right[j][1] = pair[1];
        right[j + 1][0] = pair[2], right[j + 1][1] = pair[3];
      }
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j) multiply_add(at[i][j], left[i], right[j]);
    }
  }
  // body(row, column, value) of the block's tile.
  template <class Body>
  __device__ void for_each(const Body& body) const {
    const int row = warp_of_block() / 2 * 32 + lane() / 4, column = warp_of_block() % 2 * 32 + lane() % 4 * 2;
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 4; ++j)
        for (int e = 0; e < 4; ++e) body(row + i * 16 + e / 2 * 8, column + j * 8 + e % 2, at[i][j][e]);
  }
};

// Threads in a rectangle of 16 x 8; each has every 16th row of every 8th column.
template <>
struct Results<float> {
  static constexpr int kRows = 16, kColumns = 8;
  float at[kTile / kRows][kTile / kColumns] = {};

  __device__ void multiply(const float* a, const float* b) {
    const int row = static_cast<int>(threadIdx.x) / kColumns, column = static_cast<int>(threadIdx.x) % kColumns;
    for (int k = 0; k < kDepth; ++k) {
      float right[kTile / kColumns];
      for (int j = 0; j < kTile / kColumns; ++j) right[j] = b[(column + j * kColumns) * kRowStride<float> + k];
      for (int i = 0; i < kTile / kRows; ++i) {
        const float left = a[(row + i * kRows) * kRowStride<float> + k];
        for (int j = 0; j < kTile / kColumns; ++j) at[i][j] += left * right[j];
      }
    }
  }
  template <class Body>
  __device__ void for_each(const Body& body) const {
    const int row = static_cast<int>(threadIdx.x) / kColumns, column = static_cast<int>(threadIdx.x) % kColumns;
    for (int i = 0; i < kTile / kRows; ++i)
      for (int j = 0; j < kTile / kColumns; ++j) body(row + i * kRows, column + j * kColumns, at[i][j]);
  }
};

__device__ float element(const void* data, DType dtype, std::int64_t index) {
  return dtype == DType::kBF16 ? static_cast<float>(static_cast<const bf16*>(data)[index])
                               : static_cast<const float*>(data)[index];
}

template <class T>
__global__ void __launch_bounds__(kThreads) product_kernel(ProductArgs<T> p) {
  alignas(16) __shared__ T tile_a[kTile * kRowStride<T>];
  alignas(16) __shared__ T tile_b[kTile * kRowStride<T>];
  const std::int64_t first_row = std::int64_t{blockIdx.x} * kTile, first_column = std::int64_t{blockIdx.y} * kTile;
  Share<T> a, b;
  Results<T> results;
  a.load(p.a, first_row, 0, p.depth);
  b.load(p.b, first_column, 0, p.depth);
  for (std::int64_t k = 0; k < p.depth; k += kDepth) {
    sync_block();  // the tiles have been read
    a.store(p.a.along, tile_a);
    b.store(p.b.along, tile_b);
    sync_block();
    if (k + kDepth < p.depth) {  // on their way while the tiles are multiplied
      a.load(p.a, first_row, k + kDepth, p.depth);
      b.load(p.b, first_column, k + kDepth, p.depth);
    }
    results.multiply(tile_a, tile_b);
  }
  results.for_each([&](int row, int column, float sum) {
    const std::int64_t i = first_row + row, j = first_column + column;
    if (i >= p.a.rows || j >= p.b.rows) return;
    const std::int64_t at = i * p.c_stride + j;
    if (p.bias) sum += static_cast<float>(p.bias[j]);
    if (p.residual) sum += element(p.residual, p.c_dtype, i * p.residual_stride + j);
    if (p.mode == WriteMode::kAccumulate) sum += element(p.c, p.c_dtype, at);
    if (p.c_dtype == DType::kBF16)
      static_cast<bf16*>(p.c)[at] = bf16(sum);
    else
      static_cast<float*>(p.c)[at] = sum;
  });
}

template <class T>
void run_typed(const Exec& exec, const Matmul& args) {
  const bool a_plain = args.a_layout == Layout::kPlain, b_plain = args.b_layout == Layout::kPlain;
  const std::int64_t m = args.c.size(0), n = args.c.size(1);
  const ProductArgs<T> product{.a = {.data = args.a.get<T>(),
                                     .rows = m,
                                     .stride = args.a.stride[0],
                                     .along = a_plain ? Along::kDepth : Along::kRows,
                                     .access = access_to({args.a})},
                               .b = {.data = args.b.get<T>(),
                                     .rows = n,
                                     .stride = args.b.stride[0],
                                     .along = b_plain ? Along::kRows : Along::kDepth,
                                     .access = access_to({args.b})},
                               .depth = args.a.size(a_plain ? 1 : 0),
                               .c = args.c.data,
                               .c_stride = args.c.stride[0],
                               .c_dtype = args.c.dtype,
                               .mode = args.mode,
                               .bias = args.bias ? args.bias.get<T>() : nullptr,
                               .residual = args.residual ? args.residual.data : nullptr,
                               .residual_stride = args.residual ? args.residual.stride[0] : 0};
  const Launch how{.grid = dim3(static_cast<unsigned>(ceil_div(m, kTile)), static_cast<unsigned>(ceil_div(n, kTile))),
                   .block = dim3(kThreads)};
  launch(exec, "matmul_tiled", how, product_kernel<T>, product);
}

}  // namespace

void matmul_tiled(const Exec& exec, const Matmul& args) {
  with_float_type(args.a.dtype, [&](auto zero) { run_typed<decltype(zero)>(exec, args); });
}

const Kernel<Matmul> kMatmulTiled{"tiles of 64 x 64", needs_cuda, matmul_tiled};

}  // namespace longspan::cuda
