// Streams of the emulated GPU, done at once or as late as may be.
#include "kernels/cuda/emulated/queues.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/kernels/cuda/device_memory.h"

namespace longspan::cuda {
namespace {

using emulated::QueueTiming;
using testing::DeviceArray;
using testing::DeviceExec;

constexpr std::int64_t kSize = 100, kNumBytes = kSize * sizeof(int);

class Queues : public ::testing::TestWithParam<QueueTiming> {
 protected:
  Queues() { emulated::set_queue_timing(GetParam()); }
  ~Queues() override { emulated::set_queue_timing(QueueTiming::kAtOnce); }

  static std::vector<int> counted() {
    std::vector<int> values(kSize);
    std::iota(values.begin(), values.end(), 1);
    return values;
  }
};

enum class Marks { kUsed, kForgotten };

// Fills on one stream, copies on another, reads on the first.
std::vector<int> pass_on(Marks marks) {
  DeviceExec exec;
  DeviceRuntime& runtime = exec.runtime();
  const Stream first = exec.exec().stream, second = runtime.make_stream(StreamUse::kTransfers);
  const auto forth = runtime.make_event(EventTiming::kOff), back = runtime.make_event(EventTiming::kOff);
  std::vector<int> values(kSize);
  std::iota(values.begin(), values.end(), 1);
  const DeviceArray<int> from(exec, values), via(exec, std::vector<int>(kSize, -1)),
      to(exec, std::vector<int>(kSize, -2));
  runtime.copy(first, via.data(), from.data(), kNumBytes);
  forth->record(first);
  if (marks == Marks::kUsed) forth->hold_back(second);
  runtime.copy(second, to.data(), via.data(), kNumBytes);
  back->record(second);
  if (marks == Marks::kUsed) back->hold_back(first);
  std::vector<int> result = to.values();
  runtime.destroy(second);
  return result;
}

TEST_P(Queues, MarksOrderStreams) {
  EXPECT_EQ(pass_on(Marks::kUsed), counted());
}

TEST(LateQueues, ShowAMarkThatIsMissing) {
  emulated::set_queue_timing(QueueTiming::kAtWaits);
  const std::vector<int> late = pass_on(Marks::kForgotten);
  emulated::set_queue_timing(QueueTiming::kAtOnce);
  EXPECT_EQ(late, std::vector<int>(kSize, -2));
}

TEST_P(Queues, WhoAsksAgainAndAgainSeesTheMarkReached) {
  DeviceExec exec;
  const DeviceArray<int> values(exec, counted());
  const auto mark = exec.runtime().make_event(EventTiming::kOff);
  EXPECT_TRUE(mark->is_reached());
  for (int n = 0; n < 5; ++n) exec.runtime().zero(exec.exec().stream, values.data(), kNumBytes);
  mark->record(exec.exec().stream);
  int asked = 0;
  while (!mark->is_reached() && asked < 100) ++asked;
  EXPECT_LT(asked, 100);
}

INSTANTIATE_TEST_SUITE_P(Timings, Queues, ::testing::Values(QueueTiming::kAtOnce, QueueTiming::kAtWaits),
                         [](const auto& info) {
                           return info.param == QueueTiming::kAtOnce ? std::string("AtOnce") : std::string("AtWaits");
                         });

}  // namespace
}  // namespace longspan::cuda
