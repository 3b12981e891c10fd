// Context attention over ranks as threads, on random inputs, and what it should give: plain attention over all pairs
// of tokens in double.
#pragma once

#include <cmath>
#include <cstring>
#include <mutex>
#include <random>

#include "parallel/context/executor.h"
#include "tests/parallel/context_cases.h"

namespace longspan::context_runs {

enum class Sink : std::uint8_t { kNone, kLearned };
enum class Record : std::uint8_t { kNothing, kTrace };

struct Case {
  ContextProblem problem;
  std::int64_t head_dim = 16, value_dim = 16;
  DType dtype = DType::kF32;
  Sink sink = Sink::kNone;
  int num_threads = 1;
  Overlap overlap = Overlap::kUnderTasks;
  HopFormats formats{};
  Record record = Record::kNothing;

  AttentionDesc desc() const {
    return {.dtype = dtype,
            .heads = problem.heads,
            .kv_heads = problem.kv_heads,
            .head_dim = head_dim,
            .value_dim = value_dim,
            .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim)))};
  }
};

// [T, heads, size] in global order, as exact values of the case's dtype.
using Values = std::vector<double>;
struct Inputs {
  Values q, k, v, dout, sink;
};
struct Outputs {
  Values out, lse, dq, dk, dv, dsink;
  bool operator==(const Outputs&) const = default;
};
// What each rank counted.
struct RankReport {
  ContextStats forward, backward, totals;
  std::int64_t comm_bytes = 0;
  ContextTrace trace;
  std::int64_t forward_peak = 0, backward_peak = 0, forward_predicted = 0, backward_predicted = 0;
};
struct RunResult {
  Outputs outputs;
  std::vector<RankReport> ranks;
};

inline Inputs random_inputs(const Case& c, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const std::int64_t tokens = c.problem.num_tokens();
  const auto draw = [&](std::int64_t count) {
    Values values(static_cast<std::size_t>(count));
    for (double& value : values) {
      const float x = normal(random);
      value = c.dtype == DType::kBF16 ? static_cast<double>(static_cast<float>(bf16(x))) : static_cast<double>(x);
    }
    return values;
  };
  Inputs inputs;
  inputs.q = draw(tokens * c.problem.heads * c.head_dim);
  inputs.k = draw(tokens * c.problem.kv_heads * c.head_dim);
  inputs.v = draw(tokens * c.problem.kv_heads * c.value_dim);
  inputs.dout = draw(tokens * c.problem.heads * c.value_dim);
  inputs.sink = draw(c.problem.heads);
  return inputs;
}

inline Outputs reference(const Case& c, const Inputs& in) {
  const std::int64_t T = c.problem.num_tokens(), H = c.problem.heads, G = H / c.problem.kv_heads;
  const std::int64_t Hkv = c.problem.kv_heads, D = c.head_dim, Dv = c.value_dim;
  const double scale = static_cast<double>(c.desc().scale);
  Outputs o{Values(T * H * Dv), Values(T * H), Values(T * H * D), Values(T * Hkv * D), Values(T * Hkv * Dv), {}};
  if (c.sink == Sink::kLearned) o.dsink.resize(H);
  Values p(static_cast<std::size_t>(T));
  for (std::int64_t i = 0; i < T; ++i)
    for (std::int64_t h = 0; h < H; ++h) {
      const double* q = &in.q[(i * H + h) * D];
      const auto key = [&](std::int64_t j) { return (j * Hkv + h / G); };
      double largest = c.sink == Sink::kLearned ? in.sink[h] : -INFINITY;
      for (std::int64_t j = 0; j < T; ++j) {
        p[j] = -INFINITY;
        if (!context_cases::sees(c.problem, i, j)) continue;
        p[j] = 0;
        for (std::int64_t d = 0; d < D; ++d) p[j] += scale * q[d] * in.k[key(j) * D + d];
        largest = std::max(largest, p[j]);
      }
      double sum = c.sink == Sink::kLearned ? std::exp(in.sink[h] - largest) : 0;
      for (std::int64_t j = 0; j < T; ++j) sum += std::exp(p[j] - largest);
      const double lse = o.lse[i * H + h] = largest + std::log(sum);
      double* out = &o.out[(i * H + h) * Dv];
      const double* dout = &in.dout[(i * H + h) * Dv];
      for (std::int64_t j = 0; j < T; ++j) {
        p[j] = std::exp(p[j] - lse);
        for (std::int64_t d = 0; d < Dv; ++d) out[d] += p[j] * in.v[key(j) * Dv + d];
      }
      double delta = 0;
      for (std::int64_t d = 0; d < Dv; ++d) delta += dout[d] * out[d];
      if (c.sink == Sink::kLearned) o.dsink[h] -= std::exp(in.sink[h] - lse) * delta;
      for (std::int64_t j = 0; j < T; ++j) {
        if (p[j] == 0) continue;
        double dp = -delta;
        for (std::int64_t d = 0; d < Dv; ++d) {
          dp += dout[d] * in.v[key(j) * Dv + d];
          o.dv[key(j) * Dv + d] += p[j] * dout[d];
        }
        for (std::int64_t d = 0; d < D; ++d) {
          o.dq[(i * H + h) * D + d] += scale * p[j] * dp * in.k[key(j) * D + d];
          o.dk[key(j) * D + d] += scale * p[j] * dp * q[d];
        }
      }
    }
  return o;
}

// Tensors of one rank, in an arena of its own.
class RankTensors {
 public:
  RankTensors(const std::vector<std::int64_t>& tokens, Arena& arena) : tokens_(tokens), arena_(arena) {}

  Tensor empty(DType dtype, std::int64_t heads, std::int64_t size) {
    const auto count = static_cast<std::int64_t>(tokens_.size());
    return size == 0 ? arena_.allocate("rows", MemoryCategory::kActivations, dtype, {count, heads})
                     : arena_.allocate("rows", MemoryCategory::kActivations, dtype, {count, heads, size});
  }
  Tensor gather(const Values& values, DType dtype, std::int64_t heads, std::int64_t size) {
    const Tensor rows = empty(dtype, heads, size);
    for (std::size_t i = 0; i < tokens_.size(); ++i)
      for (std::int64_t e = 0; e < heads * size; ++e) {
        const auto value = static_cast<float>(values[tokens_[i] * heads * size + e]);
        const std::int64_t at = static_cast<std::int64_t>(i) * heads * size + e;
        if (dtype == DType::kBF16)
          rows.get<bf16>()[at] = bf16(value);
        else
          rows.get<float>()[at] = value;
      }
    return rows;
  }
  void scatter(const Tensor& rows, Values& values) const {
    const std::int64_t width = rows.shape[1] * (rows.dims == 3 ? rows.shape[2] : 1);
    for (std::size_t i = 0; i < tokens_.size(); ++i)
      for (std::int64_t e = 0; e < width; ++e) {
        const std::int64_t at = static_cast<std::int64_t>(i) * width + e;
        values[tokens_[i] * width + e] = rows.dtype == DType::kBF16
                                             ? static_cast<double>(static_cast<float>(rows.get<bf16>()[at]))
                                             : static_cast<double>(rows.get<float>()[at]);
      }
  }

 private:
  const std::vector<std::int64_t>& tokens_;
  Arena& arena_;
};

// All in the host's memory.
struct RankArgs {
  ContextAttention::Forward forward;
  ContextAttention::Backward backward;
};

inline RankArgs gather_args(const Case& c, const Inputs& in, RankTensors& rows, Arena& arena) {
  const std::int64_t H = c.problem.heads, Hkv = c.problem.kv_heads, D = c.head_dim, Dv = c.value_dim;
  RankArgs args;
  auto& [forward, backward] = args;
  forward.q = rows.gather(in.q, c.dtype, H, D);
  forward.k = rows.gather(in.k, c.dtype, Hkv, D);
  forward.v = rows.gather(in.v, c.dtype, Hkv, Dv);
  forward.out = rows.empty(c.dtype, H, Dv);
  forward.lse = rows.empty(DType::kF32, H, 0);
  if (c.sink == Sink::kLearned) {
    forward.sink = arena.allocate("sink", MemoryCategory::kActivations, DType::kF32, {H});
    backward.dsink = arena.allocate_zeroed("dsink", MemoryCategory::kActivations, DType::kF32, {H});
    for (std::int64_t h = 0; h < H; ++h) forward.sink.get<float>()[h] = static_cast<float>(in.sink[h]);
  }
  backward.q = forward.q, backward.k = forward.k, backward.v = forward.v, backward.sink = forward.sink;
  backward.out = forward.out, backward.lse = forward.lse;
  backward.dout = rows.gather(in.dout, c.dtype, H, Dv);
  backward.dq = rows.empty(DType::kF32, H, D);
  backward.dk = rows.empty(DType::kF32, Hkv, D);
  backward.dv = rows.empty(DType::kF32, Hkv, Dv);
  return args;
}

inline void scatter_results(const RankArgs& args, const RankTensors& rows, Outputs& o, Values& dsink) {
  rows.scatter(args.forward.out, o.out);
  rows.scatter(args.forward.lse, o.lse);
  rows.scatter(args.backward.dq, o.dq);
  rows.scatter(args.backward.dk, o.dk);
  rows.scatter(args.backward.dv, o.dv);
  for (std::size_t h = 0; h < dsink.size(); ++h) dsink[h] = static_cast<double>(args.backward.dsink.get<float>()[h]);
}

// Both directions; exec's workspace is made here, for each as much as it says it needs.
inline void run_attention(ContextAttention& attention, Exec exec, DeviceRuntime& runtime, const RankArgs& args,
                          const Communicator& comm, RankReport& report) {
  report.forward_predicted = attention.forward_workspace_bytes();
  report.backward_predicted = attention.backward_workspace_bytes();
  Arena forward_scratch("forward", report.forward_predicted, runtime);
  Arena backward_scratch("backward", report.backward_predicted, runtime);
  exec.workspace = &forward_scratch;
  attention.forward(exec, args.forward);
  report.forward = attention.stats();
  exec.workspace = &backward_scratch;
  attention.backward(exec, args.backward);
  report.backward = attention.stats();
  report.totals = attention.totals();
  report.forward_peak = forward_scratch.peak_bytes();
  report.backward_peak = backward_scratch.peak_bytes();
  report.comm_bytes = comm.bytes_sent();
}

inline void run_rank(const Case& c, const Inputs& in, const std::vector<std::int64_t>& tokens,
                     std::shared_ptr<const ContextPlan> plan, Communicator& comm, Outputs& o, Values& dsink,
                     RankReport& report) {
  Arena arena("tensors", std::int64_t{1} << 28);
  RankTensors rows(tokens, arena);
  ContextAttention attention(std::move(plan), comm, c.desc(),
                             {c.overlap, c.formats, c.record == Record::kTrace ? &report.trace : nullptr});
  const RankArgs args = gather_args(c, in, rows, arena);
  run_attention(attention, {Device::kCpu, c.num_threads}, host_runtime(), args, comm, report);
  scatter_results(args, rows, o, dsink);
}

// Every rank writes its own tokens of the outputs; dsink is summed in rank order.
inline RunResult run(const Case& c, const Inputs& in, std::string_view scheme, int ranks,
                     decltype(run_rank)* run_one = run_rank) {
  const std::int64_t T = c.problem.num_tokens(), H = c.problem.heads, Hkv = c.problem.kv_heads;
  const auto plan = std::make_shared<const ContextPlan>(make_context_plan(scheme, c.problem, ranks));
  const auto tokens = context_cases::tokens_by_rank(*plan);
  RunResult result;
  result.ranks.resize(static_cast<std::size_t>(ranks));
  Outputs& o = result.outputs;
  o = {Values(T * H * c.value_dim),   Values(T * H),
       Values(T * H * c.head_dim),    Values(T * Hkv * c.head_dim),
       Values(T * Hkv * c.value_dim), Values(c.sink == Sink::kLearned ? H : 0)};
  std::vector<Values> dsinks(static_cast<std::size_t>(ranks), o.dsink);
  run_local_ranks(ranks, {.timeout_ms = 60'000}, [&](Communicator& comm) {
    const int rank = comm.rank();
    run_one(c, in, tokens[rank], plan, comm, o, dsinks[rank], result.ranks[rank]);
  });
  for (const Values& dsink : dsinks)
    for (std::size_t h = 0; h < dsink.size(); ++h) o.dsink[h] += dsink[h];
  return result;
}

// ||x - expected|| / ||expected||; the root mean square of x - expected where what is expected vanishes (the gradient
// of a query with one key), which is relative to inputs of unit variance.
inline double relative_error(const Values& x, const Values& expected) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    error += (x[i] - expected[i]) * (x[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  const double count = std::max<double>(1, static_cast<double>(x.size()));
  return std::sqrt(norm > 1e-20 * count ? error / norm : error / count);
}

}  // namespace longspan::context_runs
