// Embedding: rows of a table by token, and the gradient of the table, where many tokens may add to one row.
//
// The gradient is the same bits each time: the tokens' places are sorted by token, in order of place where tokens are
// alike; pieces of the sorted list are summed by a block each, and what of a row falls into several pieces is added up
// in order by the block of the first.
#include "device/launch.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/embedding_plan.h"
#include "kernels/cuda/plan.h"
#include "kernels/cuda/rows.cuh"

namespace longspan::cuda {
namespace {

template <class T>
struct ForwardArgs {
  const std::int32_t* tokens;
  Rows<T> table, out;
  std::int64_t num_tokens, vocab, width;
  Access access;
};

constexpr int kThreads = 256;

// A token outside the table has a row of zeros.
template <class T>
__global__ void __launch_bounds__(kThreads) forward_kernel(ForwardArgs<T> a) {
  const std::int64_t chunks = chunks_of(a.width), step = std::int64_t{gridDim.x} * kThreads;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < a.num_tokens * chunks; i += step) {
    const std::int64_t t = i / chunks, column = (i - t * chunks) * kChunk;
    const int count = chunk_length(column, a.width);
    const std::int64_t token = a.tokens[t];
    float x[kChunk] = {};
    if (token >= 0 && token < a.vocab) load_chunk(a.table[token] + column, count, a.access, x);
    store_chunk(a.out[t] + column, count, a.access, x);
  }
}

void run_forward(const Exec& exec, const EmbeddingForward& args) {
  const std::int64_t tokens = args.tokens.numel(), width = args.table.size(1);
  constexpr int kBlocksOfMultiprocessor = 8;
  const Launch how{.grid = dim3(grid_blocks(ceil_div(tokens * chunks_of(width), kThreads),
                                            properties_of(exec).multiprocessors, kBlocksOfMultiprocessor)),
                   .block = dim3(kThreads)};
  with_float_type(args.table.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(exec, "embedding_forward", how, forward_kernel<T>,
           ForwardArgs<T>{.tokens = args.tokens.get<std::int32_t>(),
                          .table = make_rows<T>(args.table),
                          .out = make_rows<T>(args.out),
                          .num_tokens = tokens,
                          .vocab = args.table.size(0),
                          .width = width,
                          .access = access_to({args.table, args.out})});
  });
}

constexpr int kSortThreads = 512;

// Block b finds the places of the tokens [b * range, (b + 1) * range) and writes them to where they belong in the
// sorted list: it reads all tokens twice, to count its own and those before them, then to put them down. Block 0 of
// blocks above writes how many tokens the list has; those outside the table are left out.
__global__ void __launch_bounds__(kSortThreads) sort_kernel(const std::int32_t* tokens, int num_tokens, SortPlan plan,
                                                            std::int32_t* sorted, std::int32_t* num_sorted) {
  __shared__ int next[kMostRange];  // where the next place of a token goes
  __shared__ int tile[kSortThreads];
  __shared__ int sums[kSortThreads / kWarp];
  const int thread = static_cast<int>(threadIdx.x);
  const int first = static_cast<int>(blockIdx.x) * plan.range;
  const int range = plan.vocab - first < plan.range ? plan.vocab - first : plan.range;
  for (int i = thread; i < range; i += kSortThreads) next[i] = 0;
  sync_block();
  int before = 0;
  for (int t = thread; t < num_tokens; t += kSortThreads) {
    const int token = tokens[t];
    before += token >= 0 && token < first;
    if (token >= first && token < first + range) atomic_add(&next[token - first], 1);
  }
  before = block_sum(before, sums);
  if (thread == 0) {  // counts become starts
    for (int i = 0; i < range; ++i) {
      const int count = next[i];
      next[i] = before;
      before += count;
    }
    if (first + range == plan.vocab) *num_sorted = before;
  }
  for (int begin = 0; begin < num_tokens; begin += kSortThreads) {
    const int t = begin + thread;
    const int token = t < num_tokens ? tokens[t] : -1;
    const bool mine = token >= first && token < first + range;
    tile[thread] = token;
    sync_block();  // the tile is there, and the starts
    int rank = 0, later = 0;
    if (mine) {
      for (int i = 0; i < thread; ++i) rank += tile[i] == token;
      for (int i = thread + 1; i < kSortThreads; ++i) later += tile[i] == token;
      sorted[next[token - first] + rank] = t;
    }
    sync_block();  // starts and tile have been read
    if (mine && later == 0) next[token - first] += rank + 1;
  }
}

template <class T>
struct BackwardArgs {
  const std::int32_t *tokens, *sorted, *num_sorted;
  Rows<T> dout;
  Rows<float> dtable;
  float* partials;  // [pieces, 2, width]: of the row that began before the piece, and of one that goes on after it
  std::int64_t width;
  Access access, sum_access;
};

// One piece of the sorted list, some columns.
template <class T>
__global__ void __launch_bounds__(kSumThreads) piece_kernel(BackwardArgs<T> a) {
  const std::int64_t column = (std::int64_t{blockIdx.y} * kSumThreads + threadIdx.x) * kChunk;
  const int count = chunk_length(column, a.width), end_of_list = *a.num_sorted;
  const int begin = static_cast<int>(blockIdx.x) * kPiece;
  const int end = begin + kPiece < end_of_list ? begin + kPiece : end_of_list;
  if (count == 0 || begin >= end) return;
  const auto token_at = [&](int i) { return i < 0 || i >= end_of_list ? -1 : a.tokens[a.sorted[i]]; };
  const int token_before = token_at(begin - 1), token_after = token_at(end);
  float sum[kChunk] = {};
  int token = token_at(begin);
  for (int i = begin; i < end; ++i) {
    float x[kChunk];
    load_chunk(a.dout[a.sorted[i]] + column, count, a.access, x);
    for (int e = 0; e < kChunk; ++e) sum[e] += x[e];
    const int next = i + 1 < end ? token_at(i + 1) : -1;
    if (next == token) continue;
    const bool began_before = token == token_before, goes_on = next == -1 && token == token_after;
    if (began_before || goes_on) {
      float* partial = a.partials + (std::int64_t{blockIdx.x} * 2 + (began_before ? 0 : 1)) * a.width;
      store_chunk(partial + column, count, a.sum_access, sum);
    } else {
      float* row = a.dtable[token] + column;
      load_chunk(row, count, a.sum_access, x);
      for (int e = 0; e < kChunk; ++e) x[e] += sum[e];
      store_chunk(row, count, a.sum_access, x);
    }
    for (float& each : sum) each = 0;
    token = next;
  }
}

// Where a row's sum begins in a piece and goes on after it, that piece's block adds up the parts.
template <class T>
__global__ void __launch_bounds__(kSumThreads) join_kernel(BackwardArgs<T> a) {
  const std::int64_t column = (std::int64_t{blockIdx.y} * kSumThreads + threadIdx.x) * kChunk;
  const int count = chunk_length(column, a.width), end_of_list = *a.num_sorted;
  const int begin = static_cast<int>(blockIdx.x) * kPiece, end = begin + kPiece;
  if (count == 0 || end >= end_of_list) return;
  const auto token_at = [&](int i) { return a.tokens[a.sorted[i]]; };
  const int token = token_at(end - 1);
  if (token_at(end) != token || (begin > 0 && token_at(begin - 1) == token)) return;
  float sum[kChunk], x[kChunk];
  const auto partial = [&](std::int64_t piece, int which) {
    load_chunk(a.partials + (piece * 2 + which) * a.width + column, count, a.sum_access, x);
  };
  float* row = a.dtable[token] + column;
  load_chunk(row, count, a.sum_access, sum);
  partial(blockIdx.x, 1);
  for (int e = 0; e < kChunk; ++e) sum[e] += x[e];
  for (int next = end; next < end_of_list && token_at(next) == token; next += kPiece) {
    partial(next / kPiece, 0);
    for (int e = 0; e < kChunk; ++e) sum[e] += x[e];
  }
  store_chunk(row, count, a.sum_access, sum);
}

void run_backward(const Exec& exec, const EmbeddingBackward& args) {
  const std::int64_t tokens = args.tokens.numel(), width = args.dtable.size(1);
  if (tokens == 0 || args.dtable.numel() == 0) return;
  LS_CHECK(exec.workspace, "embedding_backward of {} needs a workspace", args.dout.describe());
  const SortPlan plan = plan_sort(tokens, args.dtable.size(0));
  Arena::Scope scope(*exec.workspace);
  const auto scratch = [&](std::string_view name, DType dtype, std::initializer_list<std::int64_t> shape) {
    return exec.workspace->allocate(name, MemoryCategory::kWorkspace, dtype, shape);
  };
  const std::int64_t pieces = ceil_div(tokens, kPiece);
  const Tensor sorted = scratch("tokens sorted", DType::kI32, {tokens});
  const Tensor num_sorted = scratch("number of tokens sorted", DType::kI32, {1});
  const Tensor partials = scratch("parts of table rows", DType::kF32, {pieces, 2, width});
  launch(exec, "embedding_backward_sort",
         {.grid = dim3(static_cast<unsigned>(plan.blocks)), .block = dim3(kSortThreads)}, sort_kernel,
         args.tokens.get<std::int32_t>(), static_cast<int>(tokens), plan, sorted.get<std::int32_t>(),
         num_sorted.get<std::int32_t>());
  const Launch sums{
      .grid = dim3(static_cast<unsigned>(pieces), static_cast<unsigned>(ceil_div(chunks_of(width), kSumThreads))),
      .block = dim3(kSumThreads)};
  with_float_type(args.dout.dtype, [&](auto zero) {
    using T = decltype(zero);
    const BackwardArgs<T> a{.tokens = args.tokens.get<std::int32_t>(),
                            .sorted = sorted.get<std::int32_t>(),
                            .num_sorted = num_sorted.get<std::int32_t>(),
                            .dout = make_rows<T>(args.dout),
                            .dtable = make_rows<float>(args.dtable),
                            .partials = partials.get<float>(),
                            .width = width,
                            .access = access_to({args.dout}),
                            .sum_access = access_to({args.dtable, partials})};
    launch(exec, "embedding_backward_pieces", sums, piece_kernel<T>, a);
    launch(exec, "embedding_backward_join", sums, join_kernel<T>, a);
  });
}

}  // namespace

const Kernel<EmbeddingForward> kEmbeddingForward{"rows", needs_cuda, run_forward};
const Kernel<EmbeddingBackward> kEmbeddingBackward{"sorted", needs_cuda, run_backward};

}  // namespace longspan::cuda
