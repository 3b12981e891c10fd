// Attention by its definition on a GPU: a thread takes one row, goes through all tasks and sums in double precision.
// For anything the other implementations refuse, and to compare them with. Slow.
#include "device/launch.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/attention/attention_rows.h"
#include "kernels/cuda/attention/device_tiles.h"
#include "kernels/cuda/cuda_kernels.h"

namespace longspan::cuda {
namespace {

constexpr int kThreads = 128;

struct RowArgs {
  const AttentionTask* tasks = nullptr;
  int num_tasks = 0;
  AttentionRows q, k, v, dout, out, lse, delta, dq, dk, dv;
  std::int64_t num_queries = 0, num_keys = 0, heads = 0, kv_heads = 0, head_dim = 0, value_dim = 0;
  double scale = 0;
};

template <class T>
__device__ double dot(const T* a, const T* b, std::int64_t size) {
  double sum = 0;
  for (std::int64_t e = 0; e < size; ++e)
    sum += static_cast<double>(static_cast<float>(a[e])) * static_cast<double>(static_cast<float>(b[e]));
  return sum;
}

// visit(key) for all that a query row sees, a key as often as tasks show it; and the reverse.
template <class Visit>
__device__ void for_each_key(const RowArgs& args, std::int64_t i, std::int64_t head, const Visit& visit) {
  for (int n = 0; n < args.num_tasks; ++n) {
    const AttentionTask& t = args.tasks[n];
    if (i < t.q_begin || i >= t.q_end || head < t.head_begin || head >= t.head_end) continue;
    const std::int64_t at = i - t.q_begin + t.kv_begin;
    const std::int64_t first = at + t.band.lo > t.kv_begin ? at + t.band.lo : t.kv_begin;
    const std::int64_t last = at + t.band.hi < t.kv_end - 1 ? at + t.band.hi : t.kv_end - 1;
    for (std::int64_t j = first; j <= last; ++j) visit(j);
  }
}
template <class Visit>
__device__ void for_each_query(const RowArgs& args, std::int64_t j, std::int64_t head, const Visit& visit) {
  for (int n = 0; n < args.num_tasks; ++n) {
    const AttentionTask& t = args.tasks[n];
    if (j < t.kv_begin || j >= t.kv_end || head < t.head_begin || head >= t.head_end) continue;
    const std::int64_t at = j - t.kv_begin + t.q_begin;
    const std::int64_t first = at - t.band.hi > t.q_begin ? at - t.band.hi : t.q_begin;
    const std::int64_t last = at - t.band.lo < t.q_end - 1 ? at - t.band.lo : t.q_end - 1;
    for (std::int64_t i = first; i <= last; ++i) visit(i);
  }
}

__device__ double nothing() {
  return -static_cast<double>(std::bit_cast<float>(0x7f800000u));
}

// This thread's place in a numbering of rows x heads.
__device__ std::int64_t place() {
  return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}

template <class T>
__global__ void __launch_bounds__(kThreads) forward_by_rows(const __grid_constant__ RowArgs args) {
  if (place() >= args.num_queries * args.heads) return;
  const std::int64_t i = place() / args.heads, head = place() % args.heads;
  const std::int64_t kv_head = head / (args.heads / args.kv_heads);
  const T* q = args.q.at<const T>(i, head);
  const auto score = [&](std::int64_t j) { return args.scale * dot(q, args.k.at<const T>(j, kv_head), args.head_dim); };
  double top = nothing(), sum = 0;
  for_each_key(args, i, head, [&](std::int64_t j) {
    const double s = score(j);
    if (s > top) {
      sum *= ::exp(top - s);
      top = s;
    }
    sum += ::exp(s - top);
  });
  if (sum == 0) return;
  float* lse = args.lse.at<float>(i, head);
  const double before = *lse, here = top + ::log(sum);
  const bool is_first = before == nothing();
  const double total = is_first ? here : (before > here ? before : here) + ::log1p(::exp(-::fabs(before - here)));
  float* out = args.out.at<float>(i, head);
  const double keep = is_first ? 0.0 : ::exp(before - total);
  for (std::int64_t e = 0; e < args.value_dim; ++e) out[e] = is_first ? 0.0f : static_cast<float>(keep * out[e]);
  for_each_key(args, i, head, [&](std::int64_t j) {
    const double p = ::exp(score(j) - total);
    const T* v = args.v.at<const T>(j, kv_head);
    for (std::int64_t e = 0; e < args.value_dim; ++e) out[e] += static_cast<float>(p * static_cast<float>(v[e]));
  });
  *lse = static_cast<float>(total);
}

// Of one visible pair: the probability, and the gradient of the score before the scale.
struct PairTerms {
  double p, ds;
};
template <class T>
__device__ PairTerms pair_terms(const RowArgs& args, std::int64_t i, std::int64_t j, std::int64_t head,
                                std::int64_t kv_head) {
  const double lse = *args.lse.at<const float>(i, head), delta = *args.delta.at<const float>(i, head);
  if (lse == nothing()) return {0, 0};
  const double s = args.scale * dot(args.q.at<const T>(i, head), args.k.at<const T>(j, kv_head), args.head_dim);
  const double p = ::exp(s - lse);
  const double dp = dot(args.dout.at<const T>(i, head), args.v.at<const T>(j, kv_head), args.value_dim);
  return {p, p * (dp - delta) * args.scale};
}
template <class T>
__device__ void add_row(float* to, double weight, const T* from, std::int64_t size) {
  for (std::int64_t e = 0; e < size; ++e) to[e] += static_cast<float>(weight * static_cast<float>(from[e]));
}

template <class T>
__global__ void __launch_bounds__(kThreads) backward_by_queries(const __grid_constant__ RowArgs args) {
  if (place() >= args.num_queries * args.heads) return;
  const std::int64_t i = place() / args.heads, head = place() % args.heads;
  const std::int64_t kv_head = head / (args.heads / args.kv_heads);
  for_each_key(args, i, head, [&](std::int64_t j) {
    const PairTerms terms = pair_terms<T>(args, i, j, head, kv_head);
    add_row(args.dq.at<float>(i, head), terms.ds, args.k.at<const T>(j, kv_head), args.head_dim);
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads) backward_by_keys(const __grid_constant__ RowArgs args) {
  if (place() >= args.num_keys * args.kv_heads) return;
  const std::int64_t j = place() / args.kv_heads, kv_head = place() % args.kv_heads;
  const std::int64_t group = args.heads / args.kv_heads;
  for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
    for_each_query(args, j, head, [&](std::int64_t i) {
      const PairTerms terms = pair_terms<T>(args, i, j, head, kv_head);
      add_row(args.dk.at<float>(j, kv_head), terms.ds, args.q.at<const T>(i, head), args.head_dim);
      add_row(args.dv.at<float>(j, kv_head), terms.p, args.dout.at<const T>(i, head), args.value_dim);
    });
}

class AttentionByRows final : public AttentionOp {
 public:
  std::string_view name() const override { return "cuda reference"; }

  Refusal why_unsupported(const AttentionDesc& desc) const override {
    if (desc.device != Device::kCuda) return fmt::format("runs on cuda, not on {}", name_of(desc.device));
    return std::nullopt;
  }

  void forward(const Exec& exec, const AttentionForward& args) const override {
    const UploadedTasks tasks(exec, args.tasks);
    RowArgs rows = row_args(args.desc, tasks, args);
    rows.out = attention_rows(args.out);
    const std::int64_t lanes = rows.num_queries * rows.heads;
    if (args.desc.dtype == DType::kBF16)
      launch_over(exec, lanes, forward_by_rows<bf16>, rows);
    else
      launch_over(exec, lanes, forward_by_rows<float>, rows);
  }

  void backward(const Exec& exec, const AttentionBackward& args) const override {
    const UploadedTasks tasks(exec, args.tasks);
    RowArgs rows = row_args(args.desc, tasks, args);
    rows.dout = attention_rows(args.dout);
    rows.delta = attention_rows(args.delta);
    rows.dq = attention_rows(args.dq);
    rows.dk = attention_rows(args.dk);
    rows.dv = attention_rows(args.dv);
    const std::int64_t lanes = rows.num_queries * rows.heads, key_lanes = rows.num_keys * rows.kv_heads;
    if (args.desc.dtype == DType::kBF16) {
      launch_over(exec, lanes, backward_by_queries<bf16>, rows);
      launch_over(exec, key_lanes, backward_by_keys<bf16>, rows);
    } else {
      launch_over(exec, lanes, backward_by_queries<float>, rows);
      launch_over(exec, key_lanes, backward_by_keys<float>, rows);
    }
  }

 private:
  template <class Args>
  static RowArgs row_args(const AttentionDesc& desc, const UploadedTasks& tasks, const Args& args) {
    RowArgs rows;
    rows.tasks = tasks.data();
    rows.num_tasks = tasks.size();
    rows.q = attention_rows(args.q);
    rows.k = attention_rows(args.k);
    rows.v = attention_rows(args.v);
    rows.lse = attention_rows(args.lse);
    rows.num_queries = args.q.shape[0];
    rows.num_keys = args.k.shape[0];
    rows.heads = desc.heads;
    rows.kv_heads = desc.kv_heads;
    rows.head_dim = desc.head_dim;
    rows.value_dim = desc.value_dim;
    rows.scale = desc.scale;
    return rows;
  }
  static void launch_over(const Exec& exec, std::int64_t lanes, void (*kernel)(RowArgs), const RowArgs& rows) {
    launch(exec, "attention by rows",
           {.grid = static_cast<unsigned>((lanes + kThreads - 1) / kThreads), .block = kThreads}, kernel, rows);
  }
};

}  // namespace

const AttentionOp& attention_by_rows() {
  static const AttentionByRows op;
  return op;
}

}  // namespace longspan::cuda
