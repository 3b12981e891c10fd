// The executor with a toy for a model: stages that add and double small integers, so that everything is exact. On the
// host, and on lazy devices whose messages go as over NCCL.
#include "parallel/pipeline/pipeline_executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "kernels/core/error.h"
#include "parallel/pipeline/schedule_validator.h"
#include "tests/multirank/nccl_fleet.h"
#include "tests/parallel/pipeline_shapes.h"

namespace longspan {
namespace {

using testing::DeviceRank;
using testing::Fleet;
using testing::LazyDevice;

constexpr std::int64_t kMostTokens = 7, kWidth = 3;

// Unequal, none among them.
std::int64_t tokens_of(int micro_batch) {
  return (micro_batch * 5 + 3) % (kMostTokens + 1);
}

// Stage s turns activations x into 2 x + s, and gradients g into 2 g + s; micro-batch m begins as m and ends with the
// gradient m + 100.
class Toy final : public StageWork {
 public:
  // What an operation does is given to `give`, which may do it later, in order.
  using Give = std::function<void(std::function<void()>)>;
  Toy(const PipelineSchedule& schedule, int rank, Give give) : s_(schedule), rank_(rank), give_(std::move(give)) {}

  Tensor in_buffer(const Tensor& buffer, int micro_batch) override {
    return buffer.narrow(0, 0, tokens_of(micro_batch));
  }

  void forward(const PipelineOp& op, const Tensor& input, const Tensor& output) override {
    give_([=, this] { do_forward(op, input, output); });
  }
  void backward(const PipelineOp& op, const Tensor& doutput, const Tensor& dinput) override {
    give_([=, this] { do_backward(op, doutput, dinput); });
  }
  void weight_gradient(const PipelineOp& op) override {
    give_([=, this] { do_weight_gradient(op); });
  }
  int done() const { return done_; }

 private:
  void do_forward(const PipelineOp& op, const Tensor& input, const Tensor& output) {
    const int stage = stage_of(op);
    const float x = stage == 0 ? static_cast<float>(op.micro_batch) : value_of(input, op.micro_batch);
    EXPECT_EQ(x, activation_into(stage, op.micro_batch)) << describe(op, s_.chunks);
    EXPECT_EQ(output.data == nullptr, stage == s_.num_stages() - 1);
    inputs_[{op.chunk, op.micro_batch}] = input;
    if (output.data != nullptr) fill(output, 2 * x + static_cast<float>(stage));
  }
  void do_backward(const PipelineOp& op, const Tensor& doutput, const Tensor& dinput) {
    const int stage = stage_of(op);
    expect_input_is_there(op);
    const float g =
        stage == s_.num_stages() - 1 ? static_cast<float>(op.micro_batch + 100) : value_of(doutput, op.micro_batch);
    EXPECT_EQ(g, gradient_into(stage, op.micro_batch)) << describe(op, s_.chunks);
    EXPECT_EQ(dinput.data == nullptr, stage == 0);
    if (dinput.data != nullptr) fill(dinput, 2 * g + static_cast<float>(stage));
    gradients_[{op.chunk, op.micro_batch}] = doutput;
    if (op.kind == PipelineOpKind::kBackward) ++done_;
  }
  void do_weight_gradient(const PipelineOp& op) {
    expect_input_is_there(op);
    const Tensor& doutput = gradients_.at({op.chunk, op.micro_batch});
    if (stage_of(op) < s_.num_stages() - 1) {
      EXPECT_EQ(value_of(doutput, op.micro_batch), gradient_into(stage_of(op), op.micro_batch));
    }
    ++done_;
  }
  int stage_of(const PipelineOp& op) const {
    return s_.stage_of[static_cast<std::size_t>(rank_)][static_cast<std::size_t>(op.chunk)];
  }
  static float activation_into(int stage, int micro_batch) {
    float x = static_cast<float>(micro_batch);
    if (tokens_of(micro_batch) == 0 && stage > 0) return 0;
    for (int s = 0; s < stage; ++s) x = 2 * x + static_cast<float>(s);
    return x;
  }
  float gradient_into(int stage, int micro_batch) const {
    float g = static_cast<float>(micro_batch + 100);
    if (tokens_of(micro_batch) == 0 && stage < s_.num_stages() - 1) return 0;
    for (int s = s_.num_stages() - 1; s > stage; --s) g = 2 * g + static_cast<float>(s);
    return g;
  }
  // The one value that all elements have; 0 where there are none.
  static float value_of(const Tensor& tensor, int micro_batch) {
    EXPECT_EQ(tensor.size(0), tokens_of(micro_batch));
    for (std::int64_t i = 0; i < tensor.numel(); ++i) EXPECT_EQ(tensor.get<float>()[i], tensor.get<float>()[0]);
    return tensor.numel() == 0 ? 0 : tensor.get<float>()[0];
  }
  static void fill(const Tensor& tensor, float value) { std::fill_n(tensor.get<float>(), tensor.numel(), value); }
  void expect_input_is_there(const PipelineOp& op) {
    const Tensor& input = inputs_.at({op.chunk, op.micro_batch});
    if (stage_of(op) > 0) {
      EXPECT_EQ(value_of(input, op.micro_batch), activation_into(stage_of(op), op.micro_batch));
    }
  }

  const PipelineSchedule& s_;
  const int rank_;
  const Give give_;
  std::map<std::pair<int, int>, Tensor> inputs_, gradients_;
  int done_ = 0;
};

std::string shape_of(const PipelineSchedule& s) {
  return fmt::format("{}, {} ranks, {} chunks, {} micro-batches", s.name, s.ranks, s.chunks, s.micro_batches);
}

struct ToyRank {
  Communicator& comm;
  Exec exec;
  Toy::Give give;
};

void run_toy(const ToyRank& rank, const PipelineSchedule& schedule, const StageTraffic& traffic) {
  const auto me = static_cast<std::size_t>(rank.comm.rank());
  PipelineLinks links(rank.comm, schedule);
  Arena arena("buffers", 1 << 16, *rank.exec.runtime);
  std::vector<Tensor> buffers;
  for (int i = 0; i < traffic.buffers[me]; ++i)
    buffers.push_back(arena.allocate("buffer", MemoryCategory::kTransfers, DType::kF32, {kMostTokens, kWidth}));
  PipelineExecutor executor(schedule, traffic, links, buffers);
  WaitClock clock(*rank.exec.runtime, rank.exec.stream);
  for (int step = 0; step < 3; ++step) {
    Toy toy(schedule, rank.comm.rank(), rank.give);
    executor.run(rank.exec, toy, clock);
    rank.exec.runtime->synchronize(rank.exec.stream);
    const bool has_backward = schedule.ops[me].back().kind != PipelineOpKind::kForward;
    EXPECT_EQ(toy.done(), has_backward ? schedule.chunks * schedule.micro_batches : 0);
  }
  EXPECT_GE(clock.take_seconds(), 0);
  EXPECT_EQ(clock.take_seconds(), 0);
}

void run_on_host(const PipelineSchedule& schedule) {
  SCOPED_TRACE(shape_of(schedule));
  const StageTraffic traffic = plan_traffic(schedule);
  run_local_ranks(schedule.ranks, {.timeout_ms = 20'000}, [&](Communicator& comm) {
    run_toy({comm, Exec{}, [](const std::function<void()>& work) { work(); }}, schedule, traffic);
  });
}

// Receives wait in the devices' queues long before their messages are sent.
void run_on_devices(const PipelineSchedule& schedule) {
  SCOPED_TRACE(shape_of(schedule));
  const StageTraffic traffic = plan_traffic(schedule);
  Fleet fleet(schedule.ranks);
  const std::string message = fleet.run(20'000, [&](const DeviceRank& rank) {
    const auto give = [&](std::function<void()> work) {
      static_cast<LazyDevice&>(rank.runtime).enqueue(rank.compute, [work = std::move(work)] {
        work();
        return true;
      });
    };
    const Exec exec{.device = Device::kCuda, .runtime = &rank.runtime, .stream = rank.compute};
    run_toy({rank.comm, exec, give}, schedule, traffic);
  });
  EXPECT_EQ(message, "");
  EXPECT_EQ(fleet.board.num_aborted, 0);
}

TEST(PipelineExecutor, HandsEachMicroBatchFromStageToStageAndBack) {
  testing::for_each_schedule({.ranks = {1, 2, 3, 4}, .micro_batches = {1, 2, 4, 8, 12}, .chunks = {1, 2, 3}},
                             run_on_host);
}

TEST(PipelineExecutor, HandsThemOnOverNccl) {
  testing::for_each_schedule({.ranks = {1, 3, 4}, .micro_batches = {4}, .chunks = {1, 2}}, run_on_devices);
}

TEST(PipelineExecutor, RunsForwardsAlone) {
  for (const int ranks : {1, 2, 4})
    for (const int chunks : {1, 2}) {
      const PipelineSchedule stages{.name = "stages",
                                    .ranks = ranks,
                                    .chunks = chunks,
                                    .stage_of = stages_in(StageOrder::kLooped, ranks, chunks)};
      const PipelineSchedule schedule = forwards_alone(stages, 5);
      run_on_host(schedule);
      run_on_devices(schedule);
      for (const int buffers : plan_traffic(schedule).buffers) EXPECT_LE(buffers, 8);
    }
}

TEST(PipelineExecutor, ARankThatFailsEndsTheOthersWaits) {
  const PipelineSchedule schedule = make_pipeline_schedule("1f1b", {.ranks = 3, .micro_batches = 4});
  const StageTraffic traffic = plan_traffic(schedule);
  class Failing final : public StageWork {
   public:
    Tensor in_buffer(const Tensor& buffer, int) override { return buffer; }
    void forward(const PipelineOp& op, const Tensor&, const Tensor& output) override {
      LS_REQUIRE(kData, op.micro_batch < 2 || output.data != nullptr, "the last stage found nothing to learn");
    }
    void backward(const PipelineOp&, const Tensor&, const Tensor&) override {}
    void weight_gradient(const PipelineOp&) override {}
  };
  try {
    run_local_ranks(3, {.timeout_ms = 20'000}, [&](Communicator& comm) {
      PipelineLinks links(comm, schedule);
      Arena arena("buffers", 1 << 16);
      std::vector<Tensor> buffers;
      for (int i = 0; i < traffic.buffers[static_cast<std::size_t>(comm.rank())]; ++i)
        buffers.push_back(arena.allocate("buffer", MemoryCategory::kTransfers, DType::kF32, {1, 1}));
      PipelineExecutor executor(schedule, traffic, links, buffers);
      WaitClock clock(host_runtime(), {});
      Failing work;
      executor.run(Exec{}, work, clock);
    });
    FAIL() << "it ended as if all were well";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_NE(std::string(error.what()).find("rank 2: the last stage found nothing to learn"), std::string::npos);
  }
}

// What is posted, awaited and sent, from the lists alone.
TEST(StageTraffic, EveryMessageIsReceivedInTheOrderInWhichItIsSent) {
  const auto check = [](const PipelineSchedule& schedule) {
    const StageTraffic traffic = plan_traffic(schedule);
    EXPECT_EQ(traffic.sends_in_flight, 2) << schedule.name;
    std::map<RankPair, std::vector<int>> sent, received;
    for (int rank = 0; rank < schedule.ranks; ++rank) {
      int held = 0;
      for (const StageStep& step : traffic.steps[static_cast<std::size_t>(rank)]) {
        if (step.send_to != kNoRank) sent[{rank, step.send_to}].push_back(step.op.micro_batch);
        for (const StageReceive& receive : step.receives) received[{receive.peer, rank}].push_back(receive.micro_batch);
        for (const int buffer : {step.input, step.output}) held = std::max(held, buffer + 1);
      }
      EXPECT_LE(held, traffic.buffers[static_cast<std::size_t>(rank)]);
      // Inputs and their gradients of what is live, those that come next, and two under way each way.
      EXPECT_LE(traffic.buffers[static_cast<std::size_t>(rank)], 2 * peak_live(schedule, rank) + 3 + 4 + 2)
          << schedule.name;
    }
    EXPECT_EQ(sent, received);
  };
  testing::for_each_schedule({.ranks = {1, 2, 3, 4, 8, 16}, .micro_batches = {1, 3, 4, 16, 32}, .chunks = {1, 2, 4}},
                             check);
}

}  // namespace
}  // namespace longspan
