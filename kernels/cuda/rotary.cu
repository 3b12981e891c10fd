// Rotary positions: tables in double precision, and the turning of heads in place.
#include <cmath>

#include "device/launch.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/plan.h"
#include "kernels/cuda/rows.cuh"

namespace longspan::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksOfMultiprocessor = 8;

// Frequencies travel as an argument of the kernel; longer tables take several launches.
constexpr int kMostPairs = 256;
struct Frequencies {
  float at[kMostPairs];
};

struct TableArgs {
  const std::int32_t* positions;
  float *cos, *sin;          // at the first of these pairs
  std::int64_t tokens, row;  // elements of a row of the tables
  int pairs;
  float factor;
};

// Angles reach millions of radians: formed and reduced in double.
__global__ void __launch_bounds__(kThreads) table_kernel(TableArgs a, const __grid_constant__ Frequencies frequency) {
  const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < a.tokens * a.pairs; i += step) {
    const std::int64_t t = i / a.pairs;
    const int pair = static_cast<int>(i - t * a.pairs);
    const double angle = static_cast<double>(a.positions[t]) * frequency.at[pair];
    a.cos[t * a.row + pair] = static_cast<float>(std::cos(angle) * a.factor);
    a.sin[t * a.row + pair] = static_cast<float>(std::sin(angle) * a.factor);
  }
}

template <class T>
struct TurnArgs {
  Rows<T> x;  // [tokens * heads] rows of 2 * half
  const float *cos, *sin;
  std::int64_t rows, heads, half;
  int chunks;  // of half a row
  float turn;
  Access access;
};

// A thread turns a chunk of the first half of a row with its partners in the second.
template <class T>
__global__ void __launch_bounds__(kThreads) turn_kernel(TurnArgs<T> a) {
  const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < a.rows * a.chunks; i += step) {
    const std::int64_t row = i / a.chunks, begin = (i - row * a.chunks) * kChunk,
                       angles = row / a.heads * a.half + begin;
    const int count = chunk_length(begin, a.half);
    T* first = a.x[row] + begin;
    T* second = first + a.half;
    float x[kChunk], y[kChunk], c[kChunk], s[kChunk];
    load_chunk(first, count, a.access, x);
    load_chunk(second, count, a.access, y);
    load_chunk(a.cos + angles, count, a.access, c);
    load_chunk(a.sin + angles, count, a.access, s);
    for (int e = 0; e < kChunk; ++e) {
      const float sine = s[e] * a.turn, old = x[e];
      x[e] = old * c[e] - y[e] * sine;
      y[e] = y[e] * c[e] + old * sine;
    }
    store_chunk(first, count, a.access, x);
    store_chunk(second, count, a.access, y);
  }
}

Launch launch_for(const Exec& exec, std::int64_t items) {
  return {.grid = dim3(
              grid_blocks(ceil_div(items, kThreads), properties_of(exec).multiprocessors, kBlocksOfMultiprocessor)),
          .block = dim3(kThreads)};
}

void run_table(const Exec& exec, const RotaryTable& args) {
  const auto half = static_cast<std::int64_t>(args.inverse_frequency.size());
  for (std::int64_t begin = 0; begin < half; begin += kMostPairs) {
    Frequencies frequency{};
    const auto part = args.inverse_frequency.subspan(static_cast<std::size_t>(begin))
                          .first(static_cast<std::size_t>(std::min<std::int64_t>(kMostPairs, half - begin)));
    std::copy(part.begin(), part.end(), frequency.at);
    const TableArgs a{.positions = args.positions.get<std::int32_t>(),
                      .cos = args.cos.get<float>() + begin,
                      .sin = args.sin.get<float>() + begin,
                      .tokens = args.positions.numel(),
                      .row = half,
                      .pairs = static_cast<int>(part.size()),
                      .factor = args.attention_factor};
    launch(exec, "rotary_table", launch_for(exec, a.tokens * a.pairs), table_kernel, a, frequency);
  }
}

void run_turn(const Exec& exec, const Rotary& args) {
  const std::int64_t half = args.x.size(2) / 2;
  // The second half of a row is in vectors only if it starts at one.
  const bool halves_fit = half * size_of(args.x.dtype) % 16 == 0;
  with_float_type(args.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const TurnArgs<T> a{.x = make_rows<T>(args.x),
                        .cos = args.cos.get<float>(),
                        .sin = args.sin.get<float>(),
                        .rows = rows_of(args.x),
                        .heads = args.x.size(1),
                        .half = half,
                        .chunks = static_cast<int>(ceil_div(half, kChunk)),
                        .turn = args.direction == RotaryDirection::kForward ? 1.0f : -1.0f,
                        .access = halves_fit ? access_to({args.x, args.cos, args.sin}) : Access::kElements};
    launch(exec, "rotary", launch_for(exec, a.rows * a.chunks), turn_kernel<T>, a);
  });
}

}  // namespace

const Kernel<RotaryTable> kRotaryTable{"double", needs_cuda, run_table};
const Kernel<Rotary> kRotary{"chunks", needs_cuda, run_turn};

}  // namespace longspan::cuda
