// The head's loss in chunks of tokens: logits of a chunk by a matrix product in fp32, which one kernel turns into
// losses and, where they lie, into their gradients; two more products bring these to the hidden state and the weight.
#include <cmath>

#include "device/launch.cuh"
#include "device/math.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/plan.h"
#include "kernels/cuda/rows.cuh"

namespace longspan::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

enum class Wanted : std::uint8_t { kLoss, kLossAndGradient };

struct LossArgs {
  float* logits;  // rows of `stride` elements, multiples of kChunk
  std::int64_t stride, vocab;
  const std::int32_t* labels;
  double* losses;  // of each row; 0 without a label
  float grad_scale;
  Wanted wanted;
};

// The largest logit and the sum of exp(logit - largest) of some of a row.
struct Softmax {
  float peak = -kInfinity, sum = 0;

  // exp(-infinity - -infinity) would be NaN where a thread has seen nothing larger than -infinity yet.
  static __device__ float anchor(float peak) { return peak == -kInfinity ? 0.0f : peak; }
  __device__ void add(const float (&x)[kChunk], int count) {
    float next = peak;
    for (int i = 0; i < count; ++i) next = next < x[i] ? x[i] : next;
    const float base = anchor(next);
    sum *= exp(peak - base);
    for (int i = 0; i < count; ++i) sum += exp(x[i] - base);
    peak = next;
  }
};

// A block a row. NaN or infinite logits give a loss of NaN. The gradient of type G overwrites the logits it is made of:
// in bf16 it takes half their room, so that what is written has been read, at the latest by the block's other threads
// just before the barrier.
template <class G>
__global__ void __launch_bounds__(kThreads) loss_kernel(LossArgs a) {
  __shared__ float shared[kWarps];
  float* row = a.logits + blockIdx.x * a.stride;
  const std::int64_t label = a.labels[blockIdx.x];
  const bool counts = label >= 0 && label < a.vocab;
  const float label_logit = counts ? row[label] : 0.0f;
  Softmax softmax;
  float x[kChunk];
  if (counts)
    for (std::int64_t begin = std::int64_t{threadIdx.x} * kChunk; begin < a.vocab; begin += kThreads * kChunk) {
      const int count = chunk_length(begin, a.vocab);
      load_chunk(row + begin, count, Access::kVectors, x);
      softmax.add(x, count);
    }
  const float peak = block_max(softmax.peak, shared);
  const float sum = block_sum(softmax.sum * exp(softmax.peak - Softmax::anchor(peak)), shared);
  if (threadIdx.x == 0) a.losses[blockIdx.x] = counts ? std::log(static_cast<double>(sum)) + peak - label_logit : 0.0;
  if (a.wanted == Wanted::kLoss) return;

  G* gradient = reinterpret_cast<G*>(row);
  const float scale = counts ? a.grad_scale / sum : 0.0f;
  for (std::int64_t first = 0; first < a.vocab; first += kThreads * kChunk) {
    const std::int64_t begin = first + std::int64_t{threadIdx.x} * kChunk;
    const int count = chunk_length(begin, a.vocab);
    load_chunk(row + begin, count, Access::kVectors, x);
    for (int i = 0; i < kChunk; ++i) {
      x[i] = counts ? exp(x[i] - peak) * scale : 0.0f;
      if (counts && begin + i == label) x[i] -= a.grad_scale;
    }
    if constexpr (sizeof(G) < sizeof(float)) sync_block();
    store_chunk(gradient + begin, count, Access::kVectors, x);
  }
}

// One block: totals += the losses of the rows, and how many have a label.
__global__ void __launch_bounds__(kThreads) totals_kernel(const double* losses, const std::int32_t* labels,
                                                          std::int64_t rows, std::int64_t vocab, double* totals) {
  __shared__ double shared[kWarps];
  double loss = 0, count = 0;
  for (std::int64_t r = threadIdx.x; r < rows; r += kThreads) {
    loss += losses[r];
    count += labels[r] >= 0 && labels[r] < vocab;
  }
  loss = block_sum(loss, shared);
  count = block_sum(count, shared);
  if (threadIdx.x != 0) return;
  totals[0] += loss;
  totals[1] += count;
}

void run_chunk(const Exec& exec, const HeadLoss& args, std::int64_t begin, std::int64_t end) {
  Arena::Scope scope(*exec.workspace);
  const std::int64_t rows = end - begin, vocab = args.weight.size(0), stride = chunks_of(vocab) * kChunk;
  const auto scratch = [&](std::string_view name, DType dtype, std::initializer_list<std::int64_t> shape) {
    return exec.workspace->allocate(name, MemoryCategory::kWorkspace, dtype, shape);
  };
  const Tensor padded = scratch("logits of a chunk", DType::kF32, {rows, stride});
  const Tensor losses = scratch("losses of a chunk", DType::kF64, {rows});
  const Tensor hidden = args.hidden.narrow(0, begin, end), logits = padded.narrow(1, 0, vocab);
  matmul(exec, {.a = hidden, .b = args.weight, .c = logits, .b_layout = Layout::kTransposed});

  const std::int32_t* labels = args.labels.get<std::int32_t>() + begin;
  const bool in_bf16 = hidden.dtype == DType::kBF16;
  launch(exec, "head_loss_rows", {.grid = dim3(static_cast<unsigned>(rows)), .block = dim3(kThreads)},
         in_bf16 ? loss_kernel<bf16> : loss_kernel<float>,
         LossArgs{.logits = logits.get<float>(),
                  .stride = stride,
                  .vocab = vocab,
                  .labels = labels,
                  .losses = losses.get<double>(),
                  .grad_scale = args.grad_scale,
                  .wanted = args.dhidden ? Wanted::kLossAndGradient : Wanted::kLoss});
  launch(exec, "head_loss_totals", {.grid = dim3(1), .block = dim3(kThreads)}, totals_kernel, losses.get<double>(),
         labels, rows, vocab, args.totals.get<double>());
  if (!args.dhidden) return;
  Tensor dlogits = logits;
  if (in_bf16) {
    dlogits.dtype = DType::kBF16;
    dlogits.stride[0] = stride * (size_of(DType::kF32) / size_of(DType::kBF16));
  }
  matmul(exec, {.a = dlogits, .b = args.weight, .c = args.dhidden.narrow(0, begin, end)});
  matmul(
      exec,
      {.a = dlogits, .b = hidden, .c = args.dweight, .a_layout = Layout::kTransposed, .mode = WriteMode::kAccumulate});
}

void run(const Exec& exec, const HeadLoss& args) {
  LS_CHECK(exec.workspace, "head_loss of {} needs a workspace", args.hidden.describe());
  const std::int64_t tokens = args.hidden.size(0);
  for (std::int64_t begin = 0; begin < tokens; begin += args.chunk_tokens)
    run_chunk(exec, args, begin, std::min(tokens, begin + args.chunk_tokens));
}

}  // namespace

const Kernel<HeadLoss> kHeadLoss{"chunks", needs_cuda, run};

}  // namespace longspan::cuda
