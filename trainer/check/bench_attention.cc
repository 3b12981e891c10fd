#include "trainer/check/bench_attention.h"

#include <array>
#include <chrono>
#include <cmath>

#include "kernels/ops/matmul.h"
#include "trainer/check/bench_tools.h"

namespace longspan {
namespace {

// Milliseconds that body takes.
template <class Body>
double time_ms(Body body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// The operands of one length, in an arena that also lends scratch.
class AttentionBench {
 public:
  AttentionBench(const AttentionBenchOptions& options, std::int64_t tokens)
      : options_(options), tokens_(tokens), arena_("attention bench", arena_bytes(options, tokens)) {
    exec_.num_threads = options.threads;
    exec_.workspace = &arena_;
    desc_ = {Device::kCpu,
             options.dtype,
             options.heads,
             options.kv_heads,
             options.head_dim,
             options.value_dim,
             1.0f / std::sqrt(static_cast<float>(options.head_dim))};
    task_ = {0, tokens, 0, tokens, 0, options.heads, {Band::kUnboundedLow, 0}};
    q_ = operand("q", options.heads, options.head_dim, 1);
    k_ = operand("k", options.kv_heads, options.head_dim, 2);
    v_ = operand("v", options.kv_heads, options.value_dim, 3);
    dout_ = operand("dout", options.heads, options.value_dim, 4);
    out_ = carry("out", options.heads, options.value_dim);
    dq_ = carry("dq", options.heads, options.head_dim);
    dk_ = carry("dk", options.kv_heads, options.head_dim);
    dv_ = carry("dv", options.kv_heads, options.value_dim);
    lse_ = carry("lse", options.heads, 1).view({tokens, options.heads});
    delta_ = carry("delta", options.heads, 1).view({tokens, options.heads});
    for (Tensor* side : {&left_, &right_, &product_})
      *side = arena_.allocate("matrix", MemoryCategory::kWorkspace, DType::kF32, {kMatrix, kMatrix});
    fill_random(left_, 5);
    fill_random(right_, 6);
  }

  void forward() {
    clear_carry(exec_, out_, lse_);
    attention_forward(exec_, {desc_, q_, k_, v_, out_, lse_, {&task_, 1}});
    finish_forward(exec_, out_, lse_, {}, out_, lse_);
  }
  void backward() {
    begin_backward(exec_, out_, dout_, lse_, {}, delta_, {});
    attention_backward(exec_, {desc_, q_, k_, v_, dout_, lse_, delta_, dq_, dk_, dv_, {&task_, 1}});
  }
  void multiply() { matmul(exec_, {left_, right_, product_, {}}); }

  AttentionBenchRow run() {
    std::vector<double> forward_ms, backward_ms, matmul_ms;
    for (int repetition = 0; repetition <= options_.repetitions; ++repetition) {
      std::array<double, kProducts> products;
      for (double& product : products) product = time_ms([&] { multiply(); });
      const double there = time_ms([&] { forward(); }), back = time_ms([&] { backward(); });
      if (repetition == 0) continue;
      matmul_ms.insert(matmul_ms.end(), products.begin(), products.end());
      forward_ms.push_back(there);
      backward_ms.push_back(back);
    }
    const double pairs = static_cast<double>(count_pairs(task_));
    const double forward_flops = pairs * 2 * static_cast<double>(desc_.head_dim + desc_.value_dim);
    const double backward_flops = pairs * 2 * static_cast<double>(3 * desc_.head_dim + 2 * desc_.value_dim);
    const double matmul_flops = 2.0 * kMatrix * kMatrix * kMatrix;
    AttentionBenchRow row;
    row.options = options_;
    row.tokens = tokens_;
    row.forward_ms = median(forward_ms);
    row.backward_ms = median(backward_ms);
    row.best_forward_ms = least(forward_ms);
    row.best_backward_ms = least(backward_ms);
    row.forward_gflops = forward_flops / row.forward_ms * 1e-6;
    row.backward_gflops = backward_flops / row.backward_ms * 1e-6;
    row.best_forward_gflops = forward_flops / row.best_forward_ms * 1e-6;
    row.best_backward_gflops = backward_flops / row.best_backward_ms * 1e-6;
    row.matmul_gflops = matmul_flops / median(matmul_ms) * 1e-6;
    row.best_matmul_gflops = matmul_flops / least(matmul_ms) * 1e-6;
    row.peak_bytes = arena_.peak_bytes() - 3 * product_.num_bytes();
    return row;
  }

 private:
  static constexpr std::int64_t kMatrix = 1024;
  static constexpr int kProducts = 8;  // a repetition: one lasts so briefly that whatever else runs would decide

  // Address space, not memory: pages are touched when written.
  static std::int64_t arena_bytes(const AttentionBenchOptions& options, std::int64_t tokens) {
    const std::int64_t widths = (options.heads + options.kv_heads) * (options.head_dim + options.value_dim);
    return 16 * tokens * (widths + options.heads) + (std::int64_t{1} << 28) + options.threads * (std::int64_t{1} << 23);
  }
  Tensor operand(std::string_view name, std::int64_t heads, std::int64_t width, std::uint64_t seed) {
    const Tensor tensor = arena_.allocate(name, MemoryCategory::kActivations, options_.dtype, {tokens_, heads, width});
    fill_random(tensor, seed);
    return tensor;
  }
  Tensor carry(std::string_view name, std::int64_t heads, std::int64_t width) {
    return arena_.allocate_zeroed(name, MemoryCategory::kActivations, DType::kF32, {tokens_, heads, width});
  }

  AttentionBenchOptions options_;
  std::int64_t tokens_;
  Arena arena_;
  Exec exec_;
  AttentionDesc desc_;
  AttentionTask task_;
  Tensor q_, k_, v_, dout_, out_, lse_, delta_, dq_, dk_, dv_;
  Tensor left_, right_, product_;
};

}  // namespace

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
