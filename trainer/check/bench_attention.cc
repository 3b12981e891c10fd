#include "trainer/check/bench_attention.h"

#include <array>
#include <cmath>
#include <numeric>

#include "kernels/ops/matmul.h"
#include "trainer/check/bench_device.h"
#include "trainer/check/bench_tools.h"

namespace longspan {
namespace {

// The implementation that was asked for by name, or the one that would be chosen.
const AttentionOp& find_op(const std::string& name, const AttentionDesc& desc) {
  if (name.empty()) return choose("attention", attention_ops(), desc);
  std::string names;
  for (const AttentionOp* op : attention_ops()) {
    names += (names.empty() ? "" : ", ") + std::string(op->name());
    if (op->name() != name) continue;
    const Refusal refusal = op->why_unsupported(desc);
    LS_REQUIRE(kUnsupported, !refusal, "attention {}: {} cannot: {}", desc.describe(), name, *refusal);
    return *op;
  }
  fail(ErrorKind::kUsage, "there is no implementation of attention named {}; this build has {}", name, names);
}

AttentionDesc describe(const AttentionBenchOptions& options) {
  return {options.runtime->device(),
          options.dtype,
          options.heads,
          options.kv_heads,
          options.head_dim,
          options.value_dim,
          1.0f / std::sqrt(static_cast<float>(options.head_dim))};
}

std::vector<AttentionTask> causal_tasks(const std::vector<std::int64_t>& lengths, std::int64_t heads) {
  std::vector<AttentionTask> tasks;
  std::int64_t begin = 0;
  for (const std::int64_t length : lengths) {
    tasks.push_back({begin, begin + length, begin, begin + length, 0, heads, {Band::kUnboundedLow, 0}});
    begin += length;
  }
  return tasks;
}

// The operands of one length, on a device that also lends scratch.
class AttentionBench {
 public:
  AttentionBench(const AttentionBenchOptions& options, std::int64_t tokens)
      : options_(options),
        tokens_(tokens),
        desc_(describe(options)),
        op_(find_op(options.op, desc_)),
        tasks_(causal_tasks(document_lengths(tokens, options.documents, options.spread), options.heads)),
        on_gpu_(desc_.device == Device::kCuda),
        matrix_(options.matrix_size > 0 ? options.matrix_size : (on_gpu_ ? 8192 : 1024)),
        device_(*options.runtime, options.threads, arena_bytes()) {
    q_ = device_.random("q", options.dtype, {tokens, options.heads, options.head_dim}, 1);
    k_ = device_.random("k", options.dtype, {tokens, options.kv_heads, options.head_dim}, 2);
    v_ = device_.random("v", options.dtype, {tokens, options.kv_heads, options.value_dim}, 3);
    dout_ = device_.random("dout", options.dtype, {tokens, options.heads, options.value_dim}, 4);
    out_ = device_.zeros("out", DType::kF32, {tokens, options.heads, options.value_dim});
    dq_ = device_.zeros("dq", DType::kF32, {tokens, options.heads, options.head_dim});
    dk_ = device_.zeros("dk", DType::kF32, {tokens, options.kv_heads, options.head_dim});
    dv_ = device_.zeros("dv", DType::kF32, {tokens, options.kv_heads, options.value_dim});
    lse_ = device_.zeros("lse", DType::kF32, {tokens, options.heads});
    delta_ = device_.zeros("delta", DType::kF32, {tokens, options.heads});
    left_ = device_.random("left", matrix_dtype(), {matrix_, matrix_}, 5);
    right_ = device_.random("right", matrix_dtype(), {matrix_, matrix_}, 6);
    product_ = device_.zeros("product", matrix_dtype(), {matrix_, matrix_});
  }

  AttentionBenchRow run() {
    std::vector<double> forward_ms, backward_ms, op_forward_ms, op_backward_ms, matmul_ms;
    for (int repetition = 0; repetition <= options_.repetitions; ++repetition) {
      std::array<double, kProducts> products;
      for (double& product : products) product = device_.time_ms({[&] { multiply(); }})[0];
      const std::vector<double> there = forward(), back = backward();
      if (repetition == 0) continue;
      matmul_ms.insert(matmul_ms.end(), products.begin(), products.end());
      forward_ms.push_back(std::accumulate(there.begin(), there.end(), 0.0));
      op_forward_ms.push_back(there[1]);
      backward_ms.push_back(std::accumulate(back.begin(), back.end(), 0.0));
      op_backward_ms.push_back(back[1]);
    }
    AttentionBenchRow row;
    row.options = options_;
    row.op = op_.name();
    row.tokens = tokens_;
    for (const AttentionTask& task : tasks_) row.pairs += count_pairs(task) / options_.heads;
    const double pairs = static_cast<double>(row.pairs) * static_cast<double>(options_.heads);
    const double forward_flops = pairs * 2 * static_cast<double>(desc_.head_dim + desc_.value_dim);
    const double backward_flops = pairs * 2 * static_cast<double>(3 * desc_.head_dim + 2 * desc_.value_dim);
    const double matmul_flops = 2 * std::pow(static_cast<double>(matrix_), 3);
    row.forward_ms = median(forward_ms);
    row.backward_ms = median(backward_ms);
    row.best_forward_ms = least(forward_ms);
    row.best_backward_ms = least(backward_ms);
    row.op_forward_ms = median(op_forward_ms);
    row.op_backward_ms = median(op_backward_ms);
    row.forward_gflops = forward_flops / row.forward_ms * 1e-6;
    row.backward_gflops = backward_flops / row.backward_ms * 1e-6;
    row.best_forward_gflops = forward_flops / row.best_forward_ms * 1e-6;
    row.best_backward_gflops = backward_flops / row.best_backward_ms * 1e-6;
    row.matmul_gflops = matmul_flops / median(matmul_ms) * 1e-6;
    row.best_matmul_gflops = matmul_flops / least(matmul_ms) * 1e-6;
    row.peak_bytes = device_.peak_bytes() - 3 * product_.num_bytes();
    return row;
  }

 private:
  static constexpr int kProducts = 8;  // a repetition: one lasts so briefly that whatever else runs would decide

  DType matrix_dtype() const { return on_gpu_ ? options_.dtype : DType::kF32; }
  // On the host address space, not memory: pages are touched when written.
  std::int64_t arena_bytes() const {
    const std::int64_t widths = (options_.heads + options_.kv_heads) * (options_.head_dim + options_.value_dim);
    const std::int64_t matrices = 3 * matrix_ * matrix_ * size_of(matrix_dtype());
    const std::int64_t scratch = (std::int64_t{1} << 28) + options_.threads * (std::int64_t{1} << 23);
    return 16 * tokens_ * (widths + options_.heads) + matrices + scratch;
  }

  // What begins it, the operator, what ends it.
  std::vector<double> forward() {
    const Exec& exec = device_.exec();
    return device_.time_ms({[&] { clear_carry(exec, out_, lse_); },
                            [&] {
                              op_.forward(exec, {desc_, q_, k_, v_, out_, lse_, tasks_});
                            },
                            [&] { finish_forward(exec, out_, lse_, {}, out_, lse_); }});
  }
  std::vector<double> backward() {
    const Exec& exec = device_.exec();
    return device_.time_ms({[&] { begin_backward(exec, out_, dout_, lse_, {}, delta_, {}); },
                            [&] {
                              op_.backward(exec, {desc_, q_, k_, v_, dout_, lse_, delta_, dq_, dk_, dv_, tasks_});
                            }});
  }
  void multiply() { matmul(device_.exec(), {left_, right_, product_, {}}); }

  AttentionBenchOptions options_;
  std::int64_t tokens_;
  AttentionDesc desc_;
  const AttentionOp& op_;
  std::vector<AttentionTask> tasks_;
  bool on_gpu_;
  std::int64_t matrix_;
  BenchDevice device_;
  Tensor q_, k_, v_, dout_, out_, lse_, delta_, dq_, dk_, dv_;
  Tensor left_, right_, product_;
};

}  // namespace

std::vector<std::int64_t> document_lengths(std::int64_t tokens, std::int64_t documents, DocumentSpread spread) {
  LS_REQUIRE(kUsage, documents > 0 && documents <= tokens, "{} documents do not fit {} tokens", documents, tokens);
  // Document d weighs 1, or 1 … 64 in powers of two, so that neighbours differ much. Boundaries are rounded sums.
  const auto weight = [&](std::int64_t d) {
    return spread == DocumentSpread::kEqual ? std::int64_t{1} : std::int64_t{1} << (d * 5 % 7);
  };
  std::int64_t total = 0;
  for (std::int64_t d = 0; d < documents; ++d) total += weight(d);
  std::vector<std::int64_t> lengths;
  std::int64_t sum = 0, begin = 0;
  for (std::int64_t d = 0; d < documents; ++d) {
    sum += weight(d);
    // One token each beforehand, the rest by weight.
    const std::int64_t end = (d + 1) + (tokens - documents) * sum / total;
    lengths.push_back(end - begin);
    begin = end;
  }
  return lengths;
}

void bench_attention(const AttentionBenchOptions& options,
                     const std::function<void(const AttentionBenchRow&)>& on_row) {
  LS_REQUIRE(kUsage, options.repetitions > 0 && options.threads > 0,
             "bench attention: repetitions {} and threads {} must be positive", options.repetitions, options.threads);
  LS_REQUIRE(kUsage, options.heads > 0 && options.kv_heads > 0 && options.heads % options.kv_heads == 0,
             "bench attention: {} heads are no multiple of {} kv heads", options.heads, options.kv_heads);
  for (const std::int64_t tokens : options.tokens) {
    LS_REQUIRE(kUsage, tokens > 0, "bench attention: tokens {} must be positive", tokens);
    on_row(AttentionBench(options, tokens).run());
  }
}

}  // namespace longspan
