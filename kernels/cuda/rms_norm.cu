// RMSNorm: a warp a row where rows are narrow, else a block. A row is read once and kept in registers, but for what is
// wider than kKept chunks a thread, which is read twice.
#include "device/launch.cuh"
#include "device/math.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/plan.h"
#include "kernels/cuda/rows.cuh"

namespace longspan::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kKept = 4;
constexpr std::int64_t kWidestOfWarp = std::int64_t{kWarp} * kKept * kChunk;

// `kTeam` threads share a row: a warp or the block.
template <int kTeam>
struct Team {
  static constexpr int kRowsOfBlock = kThreads / kTeam;
  static __device__ int member() { return kTeam == kWarp ? lane() : static_cast<int>(threadIdx.x); }
  static __device__ std::int64_t first_row() {
    return std::int64_t{blockIdx.x} * kRowsOfBlock + (kTeam == kWarp ? warp_of_block() : 0);
  }
  static __device__ std::int64_t step() { return std::int64_t{gridDim.x} * kRowsOfBlock; }
  // Where this thread's chunk number c of a row begins.
  static __device__ std::int64_t column(std::int64_t c) { return (c * kTeam + member()) * kChunk; }
  static __device__ float sum(float x, float* shared) {
    if constexpr (kTeam == kWarp)
      return warp_sum(x);
    else
      return block_sum(x, shared);
  }
};

template <class T>
struct ForwardArgs {
  Rows<T> x, y;
  const T* weight;
  float* rstd;  // null: not saved
  std::int64_t rows, width;
  float eps;
  Access access;
};

template <class T, int kTeam>
__global__ void __launch_bounds__(kThreads) forward_rows(ForwardArgs<T> a) {
  using Threads = Team<kTeam>;
  __shared__ float shared[kThreads / kWarp];
  for (std::int64_t row = Threads::first_row(); row < a.rows; row += Threads::step()) {
    const T* x = a.x[row];
    float kept[kKept][kChunk], more[kChunk];
    float squares = 0;
    for (int c = 0; c < kKept; ++c) {
      const std::int64_t column = Threads::column(c);
      load_chunk(x + column, chunk_length(column, a.width), a.access, kept[c]);
      for (int i = 0; i < kChunk; ++i) squares += kept[c][i] * kept[c][i];
    }
    for (std::int64_t c = kKept; Threads::column(c) < a.width; ++c) {
      const std::int64_t column = Threads::column(c);
      load_chunk(x + column, chunk_length(column, a.width), a.access, more);
      for (int i = 0; i < kChunk; ++i) squares += more[i] * more[i];
    }
    const float rstd = rsqrt(Threads::sum(squares, shared) / static_cast<float>(a.width) + a.eps);
    if (a.rstd && Threads::member() == 0) a.rstd[row] = rstd;

    T* y = a.y[row];
    const auto finish = [&](std::int64_t column, float(&values)[kChunk]) {
      const int count = chunk_length(column, a.width);
      float weight[kChunk];
      load_chunk(a.weight + column, count, a.access, weight);
      for (int i = 0; i < kChunk; ++i) values[i] = values[i] * rstd * weight[i];
      store_chunk(y + column, count, a.access, values);
    };
    for (int c = 0; c < kKept; ++c) finish(Threads::column(c), kept[c]);
    for (std::int64_t c = kKept; Threads::column(c) < a.width; ++c) {
      const std::int64_t column = Threads::column(c);
      load_chunk(x + column, chunk_length(column, a.width), a.access, more);
      finish(column, more);
    }
  }
}

template <class T>
struct BackwardArgs {
  Rows<T> x, dy, dx;
  const T* weight;
  const float* rstd;
  float* partials;  // [blocks, width]: each block's part of dweight
  std::int64_t rows, width;
  Access access, partial_access;
};

// The rows of a block leave their sum of dy * x * rstd in the block's row of partials: each thread's own columns, from
// registers; past the kept chunks in memory, where they are read and written by no other thread.
template <class T, int kTeam>
__global__ void __launch_bounds__(kThreads) backward_rows(BackwardArgs<T> a) {
  using Threads = Team<kTeam>;
  __shared__ float shared[kTeam == kWarp ? kWidestOfWarp : kThreads / kWarp];
  float* partial = a.partials + blockIdx.x * a.width;
  float dweight[kKept][kChunk] = {};
  bool first = true;
  for (std::int64_t row = Threads::first_row(); row < a.rows; row += Threads::step()) {
    const T *x = a.x[row], *dy = a.dy[row];
    T* dx = a.dx[row];
    const float rstd = a.rstd[row];
    float kept_x[kKept][kChunk], kept_dy[kKept][kChunk], more_x[kChunk], more_dy[kChunk], weight[kChunk];
    const auto load = [&](std::int64_t column, float(&to_x)[kChunk], float(&to_dy)[kChunk]) {
      const int count = chunk_length(column, a.width);
      load_chunk(x + column, count, a.access, to_x);
      load_chunk(dy + column, count, a.access, to_dy);
      load_chunk(a.weight + column, count, a.access, weight);
      float dot = 0;
      for (int i = 0; i < kChunk; ++i) dot += weight[i] * to_dy[i] * to_x[i];
      return dot;
    };
    float dot = 0;
    for (int c = 0; c < kKept; ++c) dot += load(Threads::column(c), kept_x[c], kept_dy[c]);
    for (std::int64_t c = kKept; Threads::column(c) < a.width; ++c) dot += load(Threads::column(c), more_x, more_dy);
    const float along_x = Threads::sum(dot, shared) * rstd * rstd / static_cast<float>(a.width);

    const auto finish = [&](std::int64_t column, const float(&xs)[kChunk], const float(&dys)[kChunk],
                            float(&sum)[kChunk]) {
      const int count = chunk_length(column, a.width);
      load_chunk(a.weight + column, count, a.access, weight);
      float result[kChunk];
      for (int i = 0; i < kChunk; ++i) {
        result[i] = rstd * (weight[i] * dys[i] - xs[i] * along_x);
        sum[i] += dys[i] * xs[i] * rstd;
      }
      store_chunk(dx + column, count, a.access, result);
    };
    for (int c = 0; c < kKept; ++c) finish(Threads::column(c), kept_x[c], kept_dy[c], dweight[c]);
    for (std::int64_t c = kKept; Threads::column(c) < a.width; ++c) {
      const std::int64_t column = Threads::column(c);
      const int count = chunk_length(column, a.width);
      float sum[kChunk] = {};
      if (!first) load_chunk(partial + column, count, a.partial_access, sum);
      load(column, more_x, more_dy);
      finish(column, more_x, more_dy, sum);
      store_chunk(partial + column, count, a.partial_access, sum);
    }
    first = false;
  }
  if constexpr (kTeam == kWarp) {  // the warps' sums, one warp after another
    for (int w = 0; w < Threads::kRowsOfBlock; ++w) {
      sync_block();
      if (warp_of_block() != w) continue;
      for (int c = 0; c < kKept; ++c)
        for (int i = 0; i < kChunk; ++i) {
          float& sum = shared[Threads::column(c) + i];
          sum = w == 0 ? dweight[c][i] : sum + dweight[c][i];
        }
    }
    sync_block();
    for (std::int64_t e = threadIdx.x; e < a.width; e += kThreads) partial[e] = shared[e];
  } else {
    for (int c = 0; c < kKept; ++c)
      store_chunk(partial + Threads::column(c), chunk_length(Threads::column(c), a.width), a.partial_access,
                  dweight[c]);
  }
}

// Rows a block takes at a time.
std::int64_t rows_of_block(std::int64_t width) {
  return width <= kWidestOfWarp ? kThreads / kWarp : 1;
}

void run_forward(const Exec& exec, const RmsNormForward& args) {
  const std::int64_t rows = rows_of(args.x), width = width_of(args.x);
  constexpr int kBlocksOfMultiprocessor = 8;
  const Launch how{.grid = dim3(grid_blocks(ceil_div(rows, rows_of_block(width)), properties_of(exec).multiprocessors,
                                            kBlocksOfMultiprocessor)),
                   .block = dim3(kThreads)};
  with_float_type(args.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const ForwardArgs<T> a{.x = make_rows<T>(args.x),
                           .y = make_rows<T>(args.y),
                           .weight = args.weight.get<T>(),
                           .rstd = args.rstd ? args.rstd.get<float>() : nullptr,
                           .rows = rows,
                           .width = width,
                           .eps = args.eps,
                           .access = access_to({args.x, args.y, args.weight})};
    if (width <= kWidestOfWarp)
      launch(exec, "rms_norm_forward_warp_per_row", how, forward_rows<T, kWarp>, a);
    else
      launch(exec, "rms_norm_forward_block_per_row", how, forward_rows<T, kThreads>, a);
  });
}

void run_backward(const Exec& exec, const RmsNormBackward& args) {
  const std::int64_t rows = rows_of(args.x), width = width_of(args.x);
  if (rows == 0) return;
  const std::int64_t blocks = std::min(kMaxPartialRows, ceil_div(rows, rows_of_block(width)));
  LS_CHECK(exec.workspace, "rms_norm_backward of {} needs a workspace", args.x.describe());
  Arena::Scope scope(*exec.workspace);
  const Tensor partials = allocate_partial_sums(exec, blocks, width);
  const Launch how{.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)};
  with_float_type(args.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const BackwardArgs<T> a{.x = make_rows<T>(args.x),
                            .dy = make_rows<T>(args.dy),
                            .dx = make_rows<T>(args.dx),
                            .weight = args.weight.get<T>(),
                            .rstd = args.rstd.get<float>(),
                            .partials = partials.get<float>(),
                            .rows = rows,
                            .width = width,
                            .access = access_to({args.x, args.dy, args.dx, args.weight}),
                            .partial_access = access_to({partials})};
    if (width <= kWidestOfWarp)
      launch(exec, "rms_norm_backward_warp_per_row", how, backward_rows<T, kWarp>, a);
    else
      launch(exec, "rms_norm_backward_block_per_row", how, backward_rows<T, kThreads>, a);
  });
  add_partial_sums(exec, partials, args.dweight);
}

}  // namespace

const Kernel<RmsNormForward> kRmsNormForward{"rows", needs_cuda, run_forward};
const Kernel<RmsNormBackward> kRmsNormBackward{"rows", needs_cuda, run_backward};

}  // namespace longspan::cuda
