// What surrounds the tasks of attention, row by row: a warp takes a row of a head.
#include <bit>

#include "device/launch.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/attention/attention_rows.h"
#include "kernels/cuda/cuda_kernels.h"

namespace longspan::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;

__device__ float nothing() {
  return -std::bit_cast<float>(0x7f800000u);
}
// log(exp(a) + exp(b)).
__device__ float log_add_exp(float a, float b) {
  if (a == nothing()) return b;
  if (b == nothing()) return a;
  return (a < b ? b : a) + ::log1pf(::expf(-::fabsf(a - b)));
}

// The row and head of this thread's warp; false: there is none.
struct Place {
  std::int64_t row, head;
};
__device__ bool find_place(Place& place, std::int64_t rows, std::int64_t heads) {
  const std::int64_t n = std::int64_t{blockIdx.x} * kWarps + warp_of_block();
  place = {n / heads, n % heads};
  return n < rows * heads;
}

struct CarryArgs {
  AttentionRows out, lse, more_out, more_lse, result, total_lse;
  const float* sink = nullptr;
  std::int64_t rows = 0, heads = 0, width = 0;
};

__global__ void __launch_bounds__(kThreads) clear_kernel(CarryArgs args) {
  Place at;
  if (!find_place(at, args.rows, args.heads)) return;
  float* out = args.out.at<float>(at.row, at.head);
  for (std::int64_t e = lane(); e < args.width; e += kWarp) out[e] = 0.0f;
  if (lane() == 0) *args.lse.at<float>(at.row, at.head) = nothing();
}

__global__ void __launch_bounds__(kThreads) merge_kernel(CarryArgs args) {
  Place at;
  if (!find_place(at, args.rows, args.heads)) return;
  float* lse = args.lse.at<float>(at.row, at.head);
  const float seen = *lse, more = *args.more_lse.at<const float>(at.row, at.head);
  sync_warp();  // all have read before one writes
  if (more == nothing()) return;
  // sigmoid(more - seen), from exponents that are not positive.
  const float small = ::expf(-::fabsf(more - seen));
  const float share = seen == nothing() ? 1.0f : (more >= seen ? 1.0f : small) / (1.0f + small);
  float* to = args.out.at<float>(at.row, at.head);
  const float* from = args.more_out.at<const float>(at.row, at.head);
  for (std::int64_t e = lane(); e < args.width; e += kWarp) to[e] -= share * (to[e] - from[e]);
  if (lane() == 0) *lse = log_add_exp(seen, more);
}

template <class T>
__global__ void __launch_bounds__(kThreads) finish_kernel(CarryArgs args) {
  Place at;
  if (!find_place(at, args.rows, args.heads)) return;
  const float seen = *args.lse.at<const float>(at.row, at.head);
  const float total = args.sink ? log_add_exp(seen, args.sink[at.head]) : seen;
  const float down = seen - total;
  const float weight = seen == nothing() ? 0.0f : args.sink ? ::expf(down > 0 ? 0.0f : down) : 1.0f;
  const float* from = args.out.at<const float>(at.row, at.head);
  T* to = args.result.at<T>(at.row, at.head);
  for (std::int64_t e = lane(); e < args.width; e += kWarp) to[e] = T(weight * from[e]);
  sync_warp();  // total_lse may be lse
  if (lane() == 0) *args.total_lse.at<float>(at.row, at.head) = total;
}

struct DeltaArgs {
  AttentionRows out, dout, total_lse, delta;
  const float* sink = nullptr;
  float* dsink = nullptr;
  std::int64_t rows = 0, heads = 0, width = 0;
};

template <class Out, class Dout>
__global__ void __launch_bounds__(kThreads) delta_kernel(DeltaArgs args) {
  Place at;
  if (!find_place(at, args.rows, args.heads)) return;
  const Out* a = args.out.at<const Out>(at.row, at.head);
  const Dout* b = args.dout.at<const Dout>(at.row, at.head);
  float sum = 0;
  for (std::int64_t e = lane(); e < args.width; e += kWarp) sum += static_cast<float>(a[e]) * static_cast<float>(b[e]);
  sum = warp_sum(sum);
  if (lane() == 0) *args.delta.at<float>(at.row, at.head) = sum;
}

// A block sums one head: threads take rows in turn, then the block adds them in its fixed order.
constexpr int kSinkThreads = 512;
__global__ void __launch_bounds__(kSinkThreads) dsink_kernel(DeltaArgs args) {
  __shared__ double parts[kSinkThreads / kWarp];
  const std::int64_t head = blockIdx.x;
  const float logit = args.sink[head];
  double sum = 0;
  for (std::int64_t t = threadIdx.x; t < args.rows; t += kSinkThreads) {
    const float total = *args.total_lse.at<const float>(t, head);
    if (total == nothing()) continue;
    const float down = logit - total;
    sum += static_cast<double>(::expf(down > 0 ? 0.0f : down)) * *args.delta.at<const float>(t, head);
  }
  sum = block_sum(sum, parts);
  if (threadIdx.x == 0) args.dsink[head] -= static_cast<float>(sum);
}

template <class Args>
Launch warp_a_row(const Args& args) {
  return {.grid = static_cast<unsigned>((args.rows * args.heads + kWarps - 1) / kWarps), .block = kThreads};
}

CarryArgs carry_args(const Tensor& out, const Tensor& lse) {
  CarryArgs args;
  args.out = attention_rows(out);
  args.lse = attention_rows(lse);
  args.rows = out.shape[0];
  args.heads = out.shape[1];
  args.width = out.shape[2];
  return args;
}

void clear_carry(const Exec& exec, const ClearCarry& args) {
  const CarryArgs carry = carry_args(args.out, args.lse);
  launch(exec, "clear_carry", warp_a_row(carry), clear_kernel, carry);
}

void merge_carry(const Exec& exec, const MergeCarry& args) {
  CarryArgs carry = carry_args(args.out, args.lse);
  carry.more_out = attention_rows(args.more_out);
  carry.more_lse = attention_rows(args.more_lse);
  launch(exec, "merge_carry", warp_a_row(carry), merge_kernel, carry);
}

void finish_forward(const Exec& exec, const FinishForward& args) {
  CarryArgs carry = carry_args(args.out, args.lse);
  carry.result = attention_rows(args.result);
  carry.total_lse = attention_rows(args.total_lse);
  if (args.sink) carry.sink = args.sink.get<float>();
  if (args.result.dtype == DType::kBF16)
    launch(exec, "finish_forward", warp_a_row(carry), finish_kernel<bf16>, carry);
  else
    launch(exec, "finish_forward", warp_a_row(carry), finish_kernel<float>, carry);
}

void begin_backward(const Exec& exec, const BeginBackward& args) {
  DeltaArgs delta;
  delta.out = attention_rows(args.out);
  delta.dout = attention_rows(args.dout);
  delta.total_lse = attention_rows(args.total_lse);
  delta.delta = attention_rows(args.delta);
  delta.rows = args.out.shape[0];
  delta.heads = args.out.shape[1];
  delta.width = args.out.shape[2];
  const bool out_is_bf16 = args.out.dtype == DType::kBF16, dout_is_bf16 = args.dout.dtype == DType::kBF16;
  const auto kernel = out_is_bf16 ? (dout_is_bf16 ? delta_kernel<bf16, bf16> : delta_kernel<bf16, float>)
                                  : (dout_is_bf16 ? delta_kernel<float, bf16> : delta_kernel<float, float>);
  launch(exec, "begin_backward", warp_a_row(delta), kernel, delta);
  if (!args.sink || delta.rows == 0) return;
  delta.sink = args.sink.get<float>();
  delta.dsink = args.dsink.get<float>();
  launch(exec, "begin_backward sinks", {.grid = static_cast<unsigned>(delta.heads), .block = kSinkThreads},
         dsink_kernel, delta);
}

}  // namespace

const Kernel<ClearCarry> kClearCarry("cuda rows", needs_cuda, clear_carry);
const Kernel<MergeCarry> kMergeCarry("cuda rows", needs_cuda, merge_carry);
const Kernel<FinishForward> kFinishForward("cuda rows", needs_cuda, finish_forward);
const Kernel<BeginBackward> kBeginBackward("cuda rows", needs_cuda, begin_backward);

}  // namespace longspan::cuda
