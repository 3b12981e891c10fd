#include "trainer/check/bench_kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ops/layer_ops.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/training_ops.h"
#include "trainer/check/bench_device.h"
#include "trainer/check/bench_tools.h"

namespace longspan {
namespace {

double bytes_of(std::initializer_list<Tensor> tensors) {
  double sum = 0;
  for (const Tensor& tensor : tensors) sum += static_cast<double>(tensor.num_bytes());
  return sum;
}

class KernelBench {
 public:
  KernelBench(const KernelBenchOptions& options, const std::function<void(const KernelBenchRow&)>& on_row,
              const std::function<void(const std::string&, const std::string&)>& on_refusal)
      : options_(options),
        on_row_(on_row),
        on_refusal_(on_refusal),
        matrix_(options.matrix_size > 0                      ? options.matrix_size
                : options.runtime->device() == Device::kCuda ? 8192
                                                             : 1024),
        device_(*options.runtime, options.threads, arena_bytes()) {}

  void run() {
    bench_ceilings();
    bench_rows();
    bench_feed_forward();
    bench_vocabulary();
    bench_optimizer();
  }

 private:
  // Every group of operators releases its operands: the largest of them counts.
  std::int64_t arena_bytes() const {
    const std::int64_t width = std::max({options_.hidden, options_.ffn, std::int64_t{64}});
    const std::int64_t activations = 8 * options_.tokens * width * 4;
    const std::int64_t vocabulary = 3 * options_.vocab * options_.hidden * 4 + 1024 * options_.vocab * 8;
    const std::int64_t state = 6 * options_.vocab * options_.hidden * 4;
    return std::max({activations, vocabulary + activations / 2, state, 4 * matrix_ * matrix_ * 4}) +
           (std::int64_t{1} << 28);
  }
  Tensor values(std::string_view name, std::initializer_list<std::int64_t> shape) {
    return device_.random(name, options_.dtype, shape, ++seed_);
  }
  Tensor floats(std::string_view name, std::initializer_list<std::int64_t> shape) {
    return device_.random(name, DType::kF32, shape, ++seed_);
  }

  void time(std::string_view op, const KernelWork& work, const std::function<void()>& body) {
    std::vector<double> times;
    try {
      for (int repetition = 0; repetition <= options_.repetitions; ++repetition) {
        const double ms = device_.time_ms({body})[0];
        if (repetition > 0) times.push_back(ms);
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUnsupported) throw;
      on_refusal_(std::string(op), error.what());
      return;
    }
    KernelBenchRow row{.op = std::string(op), .work = work, .ms = median(times), .best_ms = least(times)};
    row.gb_per_s = work.bytes / row.ms * 1e-6;
    row.tflops = work.flops / row.ms * 1e-9;
    if (op == kCopy) copy_ = row.gb_per_s;
    if (op == kProduct) product_ = row.tflops;
    const double floor_ms =
        std::max(copy_ > 0 ? work.bytes / copy_ * 1e-6 : 0.0, product_ > 0 ? work.flops / product_ * 1e-9 : 0.0);
    row.of_floor = floor_ms / row.ms;
    on_row_(row);
  }

  void bench_ceilings() {
    const Exec& exec = device_.exec();
    {
      const Arena::Scope scope(*exec.workspace);
      const Tensor from = values("from", {options_.tokens, options_.ffn});
      const Tensor to = values("to", {options_.tokens, options_.ffn});
      time(kCopy, {.bytes = bytes_of({from, to})},
           [&] { exec.runtime->copy(exec.stream, to.data, from.data, to.num_bytes()); });
    }
    const Arena::Scope scope(*exec.workspace);
    const Tensor left = values("left", {matrix_, matrix_}), right = values("right", {matrix_, matrix_});
    const Tensor product = values("product", {matrix_, matrix_});
    time(kProduct, {bytes_of({left, right, product}), 2 * std::pow(static_cast<double>(matrix_), 3)}, [&] {
      matmul(exec, {left, right, product, {}});
    });
  }

  void bench_rows() {
    const Exec& exec = device_.exec();
    const Arena::Scope scope(*exec.workspace);
    const std::int64_t tokens = options_.tokens, hidden = options_.hidden, head_dim = hidden / options_.heads;
    const Tensor x = values("x", {tokens, hidden}), y = values("y", {tokens, hidden});
    const Tensor z = values("z", {tokens, hidden}), weight = values("weight", {hidden});
    const Tensor wide = floats("wide", {tokens, hidden}), sums = floats("sums", {hidden});
    const Tensor rstd = floats("rstd", {tokens});
    const Tensor cos = floats("cos", {tokens, head_dim / 2}), sin = floats("sin", {tokens, head_dim / 2});
    time("rms_norm forward", {.bytes = bytes_of({x, weight, y, rstd})}, [&] {
      rms_norm_forward(exec, {x, weight, y, rstd});
    });
    time("rms_norm backward", {.bytes = bytes_of({x, weight, rstd, y, z, sums, sums})}, [&] {
      rms_norm_backward(exec, {x, weight, rstd, y, z, sums});
    });
    time("rotary", {.bytes = bytes_of({x, x, cos, sin})}, [&] {
      rotary(exec, x.view({tokens, options_.heads, head_dim}), cos, sin, RotaryDirection::kForward);
    });
    time("add", {.bytes = bytes_of({x, y, z})}, [&] { add(exec, x, y, z); });
    time("cast", {.bytes = bytes_of({wide, x})}, [&] { cast(exec, wide, x); });
    time("add_row_sum", {.bytes = bytes_of({x, sums, sums})}, [&] { add_row_sum(exec, x, sums); });
    time("fill_zero", {.bytes = bytes_of({wide})}, [&] { fill_zero(exec, wide); });
  }

  void bench_feed_forward() {
    const Exec& exec = device_.exec();
    const Arena::Scope scope(*exec.workspace);
    const std::int64_t tokens = options_.tokens, ffn = options_.ffn;
    const Tensor gate = values("gate", {tokens, ffn}), up = values("up", {tokens, ffn});
    const Tensor out = values("out", {tokens, ffn});
    time("swiglu forward", {.bytes = bytes_of({gate, up, out})}, [&] { swiglu_forward(exec, gate, up, out); });
    time("swiglu backward", {.bytes = bytes_of({gate, up, out, gate, up})},
         [&] { swiglu_backward(exec, gate, up, out, gate, up); });
  }

  void bench_vocabulary() {
    const Exec& exec = device_.exec();
    const Arena::Scope scope(*exec.workspace);
    const std::int64_t tokens = options_.tokens, hidden = options_.hidden;
    const Tensor ids = device_.indices("tokens", tokens, options_.vocab);
    const Tensor table = values("table", {options_.vocab, hidden});
    const Tensor dtable = floats("dtable", {options_.vocab, hidden});
    const Tensor x = values("x", {tokens, hidden}), dx = values("dx", {tokens, hidden});
    const Tensor totals = device_.zeros("totals", DType::kF64, {2});
    const double rows = static_cast<double>(tokens) * static_cast<double>(hidden);
    time("embedding forward", {.bytes = bytes_of({ids, x, x})}, [&] { embedding_forward(exec, ids, table, x); });
    time("embedding backward", {.bytes = bytes_of({ids, x}) + 8 * rows},
         [&] { embedding_backward(exec, ids, x, dtable); });
    // Logits, their gradient by both factors: three products.
    time("head_loss", {bytes_of({x, dx, table, dtable, dtable}), 6 * rows * static_cast<double>(options_.vocab)}, [&] {
      head_loss(exec, {.hidden = x,
                       .weight = table,
                       .labels = ids,
                       .grad_scale = 1e-6f,
                       .dhidden = dx,
                       .dweight = dtable,
                       .totals = totals});
    });
  }

  void bench_optimizer() {
    const Exec& exec = device_.exec();
    const Arena::Scope scope(*exec.workspace);
    const std::int64_t count = options_.vocab * options_.hidden;
    const Tensor weight = floats("weight", {count}), grad = floats("grad", {count});
    const Tensor m = device_.zeros("m", DType::kF32, {count}), v = device_.zeros("v", DType::kF32, {count});
    const Tensor copy = values("copy", {count}), sum = device_.zeros("sum", DType::kF64, {1});
    time("sum_of_squares", {.bytes = bytes_of({grad, sum})}, [&] { sum_of_squares(exec, grad, sum); });
    time("adamw", {.bytes = bytes_of({weight, grad, m, v, weight, m, v, copy})},
         [&] { adamw(exec, {.weight = weight, .grad = grad, .m = m, .v = v, .compute_copy = copy, .lr = 1e-4f}); });
  }

  static constexpr std::string_view kCopy = "copy", kProduct = "matmul";

  KernelBenchOptions options_;
  const std::function<void(const KernelBenchRow&)>& on_row_;
  const std::function<void(const std::string&, const std::string&)>& on_refusal_;
  std::int64_t matrix_;
  BenchDevice device_;
  std::uint64_t seed_ = 0;
  double copy_ = 0, product_ = 0;  // GB/s, TFLOP/s of this run
};

}  // namespace

void bench_kernels(const KernelBenchOptions& options, const std::function<void(const KernelBenchRow&)>& on_row,
                   const std::function<void(const std::string& op, const std::string& why)>& on_refusal) {
  LS_REQUIRE(kUsage, options.repetitions > 0 && options.threads > 0 && options.tokens > 0 && options.ffn > 0,
             "bench kernels: tokens {}, ffn {}, repetitions {} and threads {} must be positive", options.tokens,
             options.ffn, options.repetitions, options.threads);
  LS_REQUIRE(kUsage, options.heads > 0 && options.hidden > 0 && options.hidden % (2 * options.heads) == 0,
             "bench kernels: hidden {} must be a multiple of twice the heads, {}", options.hidden, 2 * options.heads);
  LS_REQUIRE(kUsage, options.vocab > 0 && options.vocab <= 2147483647,
             "bench kernels: vocab {} must be a positive int32", options.vocab);
  KernelBench(options, on_row, on_refusal).run();
}

}  // namespace longspan
