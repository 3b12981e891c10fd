// ContextAttention on GPU 0, shared by threads as ranks: what plain attention gives, whatever its hops are written in,
// within the bounds that hold on the host.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <span>

#include "kernels/cuda/device.h"
#include "tests/parallel/context_runs.h"

namespace longspan {
namespace {

using context_runs::Case;
using context_runs::Inputs;
using context_runs::Outputs;
using context_runs::RankArgs;
using context_runs::RankReport;
using context_runs::relative_error;
using context_runs::RunResult;
using context_runs::Sink;
using context_runs::Values;

// Copies of a rank's tensors in the memory of its GPU.
class Mirror {
 public:
  Mirror(Arena& arena, DeviceRuntime& gpu, Stream compute) : arena_(arena), gpu_(gpu), compute_(compute) {}

  Tensor there(const Tensor& host) {
    if (!host) return {};
    const Tensor copy = arena_.allocate("copy", MemoryCategory::kActivations, host.dtype, {host.numel()});
    gpu_.copy(compute_, copy.data, host.data, host.num_bytes());
    Tensor shaped = host;
    shaped.data = copy.data;
    shaped.device = copy.device;
    return shaped;
  }
  RankArgs there(const RankArgs& host) {
    RankArgs args;
    auto& [f, b] = args;
    f = {there(host.forward.q),    there(host.forward.k),   there(host.forward.v),
         there(host.forward.sink), there(host.forward.out), there(host.forward.lse)};
    b = {f.q,
         f.k,
         f.v,
         f.sink,
         f.out,
         f.lse,
         there(host.backward.dout),
         there(host.backward.dq),
         there(host.backward.dk),
         there(host.backward.dv),
         there(host.backward.dsink)};
    return args;
  }
  void back(const RankArgs& device, const RankArgs& host) {
    back(device.forward.out, host.forward.out);
    back(device.forward.lse, host.forward.lse);
    back(device.backward.dq, host.backward.dq);
    back(device.backward.dk, host.backward.dk);
    back(device.backward.dv, host.backward.dv);
    back(device.backward.dsink, host.backward.dsink);
  }

 private:
  void back(const Tensor& device, const Tensor& host) {
    if (host) gpu_.copy(compute_, host.data, device.data, host.num_bytes());
  }

  Arena& arena_;
  DeviceRuntime& gpu_;
  const Stream compute_;
};

void run_rank_on_gpu(const Case& c, const Inputs& in, const std::vector<std::int64_t>& tokens,
                     std::shared_ptr<const ContextPlan> plan, Communicator& world, Outputs& o, Values& dsink,
                     RankReport& report) {
  const std::unique_ptr<DeviceRuntime> gpu = make_device_runtime(0);
  const Stream compute = gpu->make_stream(StreamUse::kCompute);
  const auto comm = world.split(0, world.rank());
  comm->use_device(*gpu, compute);
  Arena host_arena("tensors", std::int64_t{1} << 24), arena("copies", std::int64_t{1} << 24, *gpu);
  context_runs::RankTensors rows(tokens, host_arena);
  const RankArgs on_host = context_runs::gather_args(c, in, rows, host_arena);
  Mirror mirror(arena, *gpu, compute);
  const RankArgs on_gpu = mirror.there(on_host);
  AttentionDesc desc = c.desc();
  desc.device = Device::kCuda;
  ContextAttention attention(std::move(plan), *comm, desc,
                             {.overlap = c.overlap, .formats = c.formats, .device = Device::kCuda});
  context_runs::run_attention(attention, {.device = Device::kCuda, .runtime = gpu.get(), .stream = compute}, *gpu,
                              on_gpu, *comm, report);
  mirror.back(on_gpu, on_host);
  gpu->synchronize(compute);
  context_runs::scatter_results(on_host, rows, o, dsink);
}

void expect_as_planned(const Case& c, const ContextPlan& plan, const std::vector<RankReport>& ranks) {
  const WireDesc wire(c.desc(), c.formats);
  const auto forward = bytes_sent_by_ranks(plan, plan.forward, wire);
  const auto backward = bytes_sent_by_ranks(plan, plan.backward, wire);
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    EXPECT_EQ(ranks[rank].comm_bytes, forward[rank] + backward[rank]);
    EXPECT_LE(ranks[rank].forward_peak, ranks[rank].forward_predicted);
    EXPECT_LE(ranks[rank].backward_peak, ranks[rank].backward_predicted);
  }
}

struct Bounds {
  double forward, backward, gradients_of_keys;
};
// As in context_executor_test.cc, where they are explained.
Bounds bounds_of(const Case& c, HopFormat format, int ranks) {
  if (format == HopFormat::kPlain) {
    const bool rounded = c.dtype == DType::kBF16;
    const double backward = rounded ? 4e-3 : 3e-6;
    return {rounded ? 4e-3 : 1e-6, backward, backward};
  }
  const double once = format == HopFormat::kBf16 ? 2e-3 : 8e-3;
  return {1.5 * once, 3 * once, 3 * once * std::sqrt(ranks)};
}

void expect_within_bounds(Case c, std::span<const HopFormat> formats) {
  const Inputs inputs = context_runs::random_inputs(c, 79);
  const Outputs expected = context_runs::reference(c, inputs);
  for (const ContextPlanner* planner : context_planners())
    for (const int ranks : {2, 3}) {
      if (context_cases::refuses(*planner, c.problem, ranks)) continue;
      for (const HopFormat format : formats) {
        c.formats = {format, format};
        const RunResult run = context_runs::run(c, inputs, planner->name(), ranks, run_rank_on_gpu);
        const auto error = [&](Values Outputs::*part) { return relative_error(run.outputs.*part, expected.*part); };
        SCOPED_TRACE(fmt::format("{} over {} ranks, format {}", planner->name(), ranks, static_cast<int>(format)));
        const Bounds bounds = bounds_of(c, format, ranks);
        EXPECT_LE(error(&Outputs::out), bounds.forward);
        EXPECT_LE(error(&Outputs::dq), bounds.backward);
        EXPECT_LE(error(&Outputs::dk), bounds.gradients_of_keys);
        EXPECT_LE(error(&Outputs::dv), bounds.gradients_of_keys);
        if (format == HopFormat::kPlain) {
          EXPECT_LE(error(&Outputs::lse), 1e-5);
          EXPECT_LE(error(&Outputs::dsink), bounds.backward);
        }
        expect_as_planned(c, make_context_plan(planner->name(), c.problem, ranks), run.ranks);
      }
    }
}

TEST(ContextAttentionOnGpu, KeepsItsBoundsWhateverItsHopsAreWrittenIn) {
  expect_within_bounds({.problem = {{0, 29, 30, 30, 72}, 4, 2, true, 0}, .sink = Sink::kLearned},
                       std::array{HopFormat::kPlain, HopFormat::kBf16, HopFormat::kInt8});
}

TEST(ContextAttentionOnGpu, KeepsItsBoundsOnTensorCores) {
  expect_within_bounds(
      {.problem = {{0, 29, 72}, 2, 1, true, 0}, .head_dim = 64, .value_dim = 64, .dtype = DType::kBF16},
      std::array{HopFormat::kPlain});
}

}  // namespace
}  // namespace longspan
