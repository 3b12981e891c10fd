#include "trainer/check/bench_machine.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <ctime>
#include <thread>

#include "kernels/ops/attention.h"
#include "kernels/ops/training_ops.h"
#include "models/linear.h"
#include "trainer/check/bench_device.h"
#include "trainer/check/build_info.h"
#include "trainer/launch/launch.h"
#include "trainer/loop/chip.h"

namespace longspan {
namespace {

constexpr int kRounds = 3;
constexpr std::int64_t kHeads = 4;
constexpr std::int64_t kUpdated = std::int64_t{1} << 22;       // weights
constexpr std::int64_t kMessageBytes = std::int64_t{4} << 20;  // of a message that shows the bandwidth
constexpr std::int64_t kShortBytes = 64;                       // of one that shows the latency

double bytes_of(std::initializer_list<Tensor> tensors) {
  double sum = 0;
  for (const Tensor& tensor : tensors) sum += static_cast<double>(tensor.num_bytes());
  return sum;
}

std::string today() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

class MachineBench {
 public:
  MachineBench(Communicator& world, const RankDevice& device, const MachineBenchOptions& options,
               const MachineBenchLog& log)
      : world_(world),
        rank_device_(device),
        options_(options),
        log_(log),
        device_world_(world, device),
        device_(device.runtime(), options.threads, arena_bytes()) {}

  Machine run() {
    const bool on_gpu = rank_device_.device() == Device::kCuda;
    Machine machine{.name = on_gpu ? rank_device_.name() : machine_name(),
                    .precision = options_.dtype,
                    .ranks = options_.ranks_per_node > 0 ? options_.ranks_per_node : world_.size(),
                    .threads = options_.threads,
                    .cores = on_gpu ? 0.0 : std::max(1u, std::thread::hardware_concurrency()),
                    .memory = on_gpu ? static_cast<double>(rank_device_.runtime().memory_bytes()) : 0,
                    .peak = peak_flops_of(rank_device_.name(), options_.dtype).value_or(0)};
    machine.source =
        fmt::format("measured {} with longspan {}: {} rank(s) of {} thread(s) at once, {} tokens, messages by {}",
                    today(), build_commit(), machine.ranks, machine.threads, options_.tokens, world_.backend());
    machine.overlap = on_gpu ? TransferOverlap::kHidden : TransferOverlap::kOnCore;
    for (const std::int64_t width : options_.widths) machine.products.push_back(measure_products(width));
    for (const std::int64_t head_dim : options_.head_dims) machine.attention.push_back(measure_attention(head_dim));
    machine.head_rate = measure_head();
    machine.bytes_per_second = measure_rows();
    machine.update_bytes_per_second = measure_update();
    machine.seconds_per_operator = measure_operator();
    measure_links(machine);
    return machine;
  }

 private:
  std::int64_t widest() const { return options_.widths.back(); }
  // Every group of operators releases its operands: the largest counts.
  std::int64_t arena_bytes() const {
    const std::int64_t rows = 24 * options_.tokens * std::max(widest(), kHeads * options_.head_dims.back());
    const std::int64_t weights = 12 * (widest() * widest() + options_.vocab * widest());
    return 4 * (rows + weights + 6 * kUpdated) + 1024 * options_.vocab * 8 + (std::int64_t{1} << 28);
  }
  Tensor values(std::string_view name, std::initializer_list<std::int64_t> shape) {
    return device_.random(name, options_.dtype, shape, ++seed_);
  }
  Tensor floats(std::string_view name, std::initializer_list<std::int64_t> shape) {
    return device_.random(name, DType::kF32, shape, ++seed_);
  }

  double mean_of_ranks(double seconds) {
    std::array<double, 1> sum = {seconds};
    world_.all_reduce(sum, ReduceOp::kSum);
    return sum[0] / world_.size();
  }

  // The least of several rounds of so many runs, of one run in the mean over the ranks, which begin a round together.
  double least_of_rounds(const std::function<void()>& body, int runs) {
    double least = INFINITY;
    for (int round = 0; round < kRounds; ++round) {
      world_.barrier();
      const double ms = device_.time_ms({[&] {
        for (int i = 0; i < runs; ++i) body();
      }})[0];
      least = std::min(least, mean_of_ranks(1e-3 * ms / runs));
    }
    return least;
  }

  // Of one run of the body, in the mean over the ranks; each runs it again and again, for as long as the others do.
  double seconds_of(const std::function<void()>& body) {
    body();
    world_.barrier();
    const double once = 1e-3 * device_.time_ms({body})[0];
    const int runs = std::clamp(static_cast<int>(options_.seconds / std::max(once, 1e-9)), 1, 1 << 20);
    return least_of_rounds(body, runs);
  }
  double rate_of(const std::string& what, double work, std::string_view unit, const std::function<void()>& body) {
    const double rate = work / seconds_of(body);
    if (world_.rank() == 0) log_(what, rate, unit);
    return rate;
  }

  ProductRate measure_products(std::int64_t width) {
    const Exec& exec = device_.exec();
    const Arena::Scope scope(*exec.workspace);
    const std::int64_t tokens = options_.tokens;
    const Linear linear{
        .weight = {values("weight", {width, width}), device_.zeros("dweight", DType::kF32, {width, width})},
        .bias = {}};
    const Tensor x = values("x", {tokens, width}), y = values("y", {tokens, width});
    const double flops = 2 * static_cast<double>(tokens) * std::pow(static_cast<double>(width), 2);
    const auto rate = [&](std::string_view direction, const std::function<void()>& body) {
      return rate_of(fmt::format("product {} {}", width, direction), flops, "FLOP/s", body);
    };
    return {static_cast<double>(width), rate("forward", [&] { linear.forward(exec, x, y); }),
            rate("input gradient", [&] { linear.input_backward(exec, y, x, WriteMode::kOverwrite); }),
            rate("weight gradient", [&] { linear.weight_backward(exec, x, y); })};
  }

  AttentionRate measure_attention(std::int64_t head_dim) {
    const Exec& exec = device_.exec();
    const Arena::Scope scope(*exec.workspace);
    const std::int64_t tokens = options_.tokens;
    const AttentionDesc desc{.device = exec.device,
                             .dtype = options_.dtype,
                             .heads = kHeads,
                             .kv_heads = kHeads,
                             .head_dim = head_dim,
                             .value_dim = head_dim,
                             .scale = 1 / std::sqrt(static_cast<float>(head_dim))};
    const auto rows = [&](std::string_view name) { return values(name, {tokens, kHeads, head_dim}); };
    const auto sums = [&](std::string_view name) {
      return device_.zeros(name, DType::kF32, {tokens, kHeads, head_dim});
    };
    const Tensor q = rows("q"), k = rows("k"), v = rows("v"), dout = rows("dout");
    const Tensor out = sums("out"), dq = sums("dq"), dk = sums("dk"), dv = sums("dv");
    const Tensor lse = device_.zeros("lse", DType::kF32, {tokens, kHeads});
    const Tensor delta = device_.zeros("delta", DType::kF32, {tokens, kHeads});
    const AttentionTask causal{0, tokens, 0, tokens, 0, kHeads, {Band::kUnboundedLow, 0}};
    const double flops = static_cast<double>(count_pairs(causal)) * static_cast<double>(head_dim);
    clear_carry(exec, out, lse);
    const double forward = rate_of(fmt::format("attention {} forward", head_dim), 4 * flops, "FLOP/s", [&] {
      attention_forward(exec, {desc, q, k, v, out, lse, {&causal, 1}});
    });
    return {static_cast<double>(head_dim), forward,
            rate_of(fmt::format("attention {} backward", head_dim), 10 * flops, "FLOP/s", [&] {
              attention_backward(exec, {desc, q, k, v, dout, lse, delta, dq, dk, dv, {&causal, 1}});
            })};
  }

  double measure_head() {
    const Exec& exec = device_.exec();
    const Arena::Scope scope(*exec.workspace);
    const std::int64_t tokens = std::min<std::int64_t>(options_.tokens, HeadLoss{}.chunk_tokens), width = widest();
    const Tensor x = values("x", {tokens, width}), dx = values("dx", {tokens, width});
    const Tensor table = values("table", {options_.vocab, width});
    const Tensor dtable = device_.zeros("dtable", DType::kF32, {options_.vocab, width});
    const Tensor labels = device_.indices("labels", tokens, options_.vocab);
    const Tensor totals = device_.zeros("totals", DType::kF64, {2});
    const double flops = 6 * static_cast<double>(tokens) * static_cast<double>(options_.vocab * width);
    return rate_of("head with loss", flops, "FLOP/s", [&] {
      head_loss(exec, {.hidden = x,
                       .weight = table,
                       .labels = labels,
                       .grad_scale = 1e-6f,
                       .dhidden = dx,
                       .dweight = dtable,
                       .totals = totals});
    });
  }

  // The operators between the products of a layer, in the proportions of one.
  double measure_rows() {
    const Exec& exec = device_.exec();
    const Arena::Scope scope(*exec.workspace);
    const std::int64_t tokens = options_.tokens, width = widest(), ffn = 3 * width,
                       head_dim = options_.head_dims.front();
    const Tensor x = values("x", {tokens, width}), y = values("y", {tokens, width}), dx = values("dx", {tokens, width});
    const Tensor weight = values("weight", {width}), dweight = device_.zeros("dweight", DType::kF32, {width});
    const Tensor rstd = floats("rstd", {tokens});
    const Tensor cos = floats("cos", {tokens, head_dim / 2}), sin = floats("sin", {tokens, head_dim / 2});
    const Tensor gate = values("gate", {tokens, ffn}), up = values("up", {tokens, ffn}),
                 out = values("out", {tokens, ffn});
    const Tensor heads = y.view({tokens, width / head_dim, head_dim});
    const double bytes = 2 * (bytes_of({x, y}) + bytes_of({x, y, dx}) + bytes_of({y, y})) + bytes_of({x, y, dx}) +
                         bytes_of({gate, up, out}) + bytes_of({gate, up, out, gate, up});
    return rate_of("norms, rotary, SwiGLU", bytes, "B/s", [&] {
      for (int i = 0; i < 2; ++i) {
        rms_norm_forward(exec, {x, weight, y, rstd});
        rms_norm_backward(exec, {x, weight, rstd, y, dx, dweight});
        rotary(exec, heads, cos, sin, i == 0 ? RotaryDirection::kForward : RotaryDirection::kBackward);
      }
      add(exec, x, y, dx);
      swiglu_forward(exec, gate, up, out);
      swiglu_backward(exec, gate, up, out, gate, up);
    });
  }

  double measure_update() {
    const Exec& exec = device_.exec();
    const Arena::Scope scope(*exec.workspace);
    const Tensor weight = floats("weight", {kUpdated}), grad = floats("grad", {kUpdated});
    const Tensor m = device_.zeros("m", DType::kF32, {kUpdated}), v = device_.zeros("v", DType::kF32, {kUpdated});
    const Tensor copy = options_.dtype == DType::kF32 ? Tensor{} : values("copy", {kUpdated});
    double bytes = bytes_of({weight, grad, m, v, weight, m, v});
    if (copy) bytes += bytes_of({copy});
    return rate_of("optimizer", bytes, "B/s", [&] {
      adamw(exec, {.weight = weight, .grad = grad, .m = m, .v = v, .compute_copy = copy, .lr = 1e-4f});
    });
  }

  double measure_operator() {
    const Exec& exec = device_.exec();
    const Arena::Scope scope(*exec.workspace);
    const Tensor a = values("a", {1, 64}), b = values("b", {1, 64});
    const double seconds = seconds_of([&] { add(exec, a, a, b); });
    if (world_.rank() == 0) log_("smallest operator", seconds, "s");
    return seconds;
  }

  // Everybody sends to the rank so many places on and receives from the one as many before.
  double seconds_of_message(std::int64_t num_bytes, int distance, std::string_view what) {
    Communicator& comm = device_world_.comm();
    const Exec& exec = device_.exec();
    const Arena::Scope scope(*exec.workspace);
    const Tensor out = device_.zeros("out", DType::kI8, {num_bytes}), in = device_.zeros("in", DType::kI8, {num_bytes});
    const int to = (comm.rank() + distance) % comm.size(), from = (comm.rank() + comm.size() - distance) % comm.size();
    return seconds_of_together([&] {
      const Send send{to, out.data, num_bytes, exec.device};
      const Receive receive{from, in.data, num_bytes, exec.device};
      comm.start({&send, 1}, {&receive, 1}, what)->wait();
    });
  }
  // Like seconds_of, for what all ranks do together: all as often.
  double seconds_of_together(const std::function<void()>& body) {
    const Exec& exec = device_.exec();
    body();
    exec.runtime->synchronize(exec.stream);
    world_.barrier();
    std::array<double, 1> once = {1e-3 * device_.time_ms({body})[0]};
    world_.all_reduce(once, ReduceOp::kMax);
    const int runs = std::clamp(static_cast<int>(options_.seconds / std::max(once[0], 1e-9)), 1, 1 << 16);
    return least_of_rounds(body, runs);
  }

  Link measure_link(std::string_view name, int distance) {
    Link link;
    const double brief = seconds_of_message(kShortBytes, distance, name);
    const double whole = seconds_of_message(kMessageBytes, distance, name);
    link.seconds_per_message = brief;
    link.bytes_per_second = static_cast<double>(kMessageBytes) / std::max(whole - brief, 1e-2 * whole);
    if (world_.rank() == 0) {
      log_(fmt::format("message {}", name), brief, "s");
      log_(fmt::format("messages {}", name), link.bytes_per_second, "B/s");
    }
    return link;
  }

  // Sums over groups of so many ranks: bytes that a rank sends, there and back, over the time.
  double measure_reduction(std::string_view name, int group_size) {
    Communicator& comm = device_world_.comm();
    const auto group = comm.split(comm.rank() / group_size, comm.rank());
    const Arena::Scope scope(*device_.exec().workspace);
    const Tensor sums = device_.zeros("sums", DType::kF32, {kUpdated / 4});
    const double sent = 2 * static_cast<double>(sums.num_bytes()) * (group->size() - 1) / std::max(1, group->size());
    const double rate = sent / seconds_of_together([&] { group->all_reduce(sums, ReduceOp::kSum); });
    if (world_.rank() == 0) log_(fmt::format("sums {}", name), rate, "B/s");
    return rate;
  }

  void measure_links(Machine& machine) {
    const int size = world_.size(), node = machine.ranks;
    machine.node = measure_link("within a node", size > 1 ? 1 : 0);
    machine.node.reduced_bytes_per_second =
        node > 1 ? measure_reduction("within a node", node) : machine.node.bytes_per_second;
    machine.network = machine.node;
    if (node < size) {
      machine.network = measure_link("between nodes", node);
      machine.network.reduced_bytes_per_second = measure_reduction("between nodes", size);
    } else {
      machine.source += "; all on one node, whose links stand for the network's";
    }
  }

  Communicator& world_;
  const RankDevice& rank_device_;
  MachineBenchOptions options_;
  const MachineBenchLog& log_;
  DeviceWorld device_world_;
  BenchDevice device_;
  std::uint64_t seed_ = 0;
};

}  // namespace

Machine bench_machine(Communicator& world, const RankDevice& device, const MachineBenchOptions& options,
                      const MachineBenchLog& log) {
  LS_REQUIRE(kUsage, options.threads > 0 && options.tokens > 0 && options.vocab > 0 && options.seconds > 0,
             "bench machine: threads {}, tokens {}, vocab {} and seconds {} must be positive", options.threads,
             options.tokens, options.vocab, options.seconds);
  for (const std::vector<std::int64_t>* sizes : {&options.widths, &options.head_dims}) {
    bool ascend = !sizes->empty() && sizes->front() > 0;
    for (std::size_t i = 1; i < sizes->size(); ++i) ascend &= (*sizes)[i - 1] < (*sizes)[i];
    LS_REQUIRE(kUsage, ascend, "bench machine: widths and head sizes must be positive and ascend");
  }
  for (const std::int64_t head_dim : options.head_dims)
    LS_REQUIRE(kUsage, head_dim % 2 == 0, "bench machine: a head of {} is odd, but rotary positions turn pairs",
               head_dim);
  LS_REQUIRE(kUsage, options.widths.back() % options.head_dims.front() == 0,
             "bench machine: the widest projection, {}, is not a multiple of the smallest head, {}",
             options.widths.back(), options.head_dims.front());
  return MachineBench(world, device, options, log).run();
}

}  // namespace longspan
