// A GPU's memory, streams and marks, as device_runtime.h promises them.
#include <gtest/gtest.h>

#include <numeric>

#include "kernels/cuda/device_query.h"
#include "tests/kernels/cuda/device_memory.h"

namespace longspan {
namespace {

using testing::DeviceArray;
using testing::DeviceExec;

std::vector<int> counted(std::size_t size) {
  std::vector<int> values(size);
  std::iota(values.begin(), values.end(), 0);
  return values;
}

TEST(GpuRuntime, IsTheGpuThatWasListed) {
  const DeviceExec exec;
  EXPECT_EQ(exec.runtime().device(), Device::kCuda);
  EXPECT_EQ(exec.runtime().name(), query_cuda_devices().names.front());
  EXPECT_GT(exec.runtime().memory_bytes(), 0);
}

TEST(GpuRuntime, CopiesAndZeroesInTheOrderOfAStream) {
  DeviceExec exec;
  const std::vector<int> values = counted(1001);
  const DeviceArray<int> from(exec, values), to(exec, std::vector<int>(1001, -1));
  exec.runtime().copy(exec.exec().stream, to.data(), from.data(), 1001 * sizeof(int));
  exec.runtime().zero(exec.exec().stream, from.data(), 1001 * sizeof(int));
  exec.runtime().copy(exec.exec().stream, to.data() + 1, from.data() + 1, 0);
  EXPECT_EQ(to.values(), values);
  EXPECT_EQ(from.values(), std::vector<int>(1001, 0));
}

TEST(GpuRuntime, HoldsAStreamBackUntilAMark) {
  DeviceExec exec;
  DeviceRuntime& runtime = exec.runtime();
  const Stream other = runtime.make_stream(StreamUse::kTransfers);
  const std::size_t size = 1 << 20;
  const DeviceArray<int> first(exec, counted(size)), second(exec, std::vector<int>(size, -1)),
      third(exec, counted(size));
  const auto mark = runtime.make_event(EventTiming::kOff);
  for (int repetition = 0; repetition < 4; ++repetition) {
    runtime.zero(exec.exec().stream, second.data(), size * sizeof(int));
    runtime.copy(exec.exec().stream, second.data(), first.data(), size * sizeof(int));
    mark->record(exec.exec().stream);
    mark->hold_back(other);
    runtime.copy(other, third.data(), second.data(), size * sizeof(int));
    runtime.synchronize(other);
    EXPECT_EQ(third.values(), counted(size));
    runtime.zero(exec.exec().stream, third.data(), size * sizeof(int));
    runtime.synchronize(exec.exec().stream);
  }
  runtime.destroy(other);
}

TEST(GpuRuntime, MarksAreReachedAndTimed) {
  DeviceExec exec;
  const auto begin = exec.runtime().make_event(EventTiming::kOn), end = exec.runtime().make_event(EventTiming::kOn);
  const DeviceArray<int> values(exec, counted(1 << 16));
  begin->record(exec.exec().stream);
  exec.runtime().zero(exec.exec().stream, values.data(), (1 << 16) * sizeof(int));
  end->record(exec.exec().stream);
  end->wait();
  EXPECT_TRUE(begin->is_reached());
  EXPECT_TRUE(end->is_reached());
  EXPECT_GE(end->milliseconds_since(*begin), 0);
}

TEST(GpuRuntime, UploadsWhatIsGoneBeforeItArrives) {
  DeviceExec exec;
  const DeviceArray<int> there(exec, std::vector<int>(100, -1));
  for (int n = 0; n < 100; ++n) exec.runtime().upload(exec.exec().stream, there.data() + n, &n, sizeof(n));
  EXPECT_EQ(there.values(), counted(100));
}

TEST(GpuRuntime, UploadsAfterAStreamIsGone) {
  DeviceExec exec;
  const DeviceArray<int> there(exec, std::vector<int>(100, -1));
  const Stream other = exec.runtime().make_stream(StreamUse::kTransfers);
  const int early = 5, late = 7;
  exec.runtime().upload(other, there.data(), &early, sizeof(early));
  exec.runtime().synchronize(other);
  exec.runtime().destroy(other);
  for (int n = 1; n < 20; ++n) exec.runtime().upload(exec.exec().stream, there.data() + n, &late, sizeof(late));
  const std::vector<int> values = there.values();
  EXPECT_EQ(values[0], early);
  EXPECT_EQ(std::vector<int>(values.begin() + 1, values.begin() + 20), std::vector<int>(19, late));
}

TEST(GpuRuntime, CopiesThroughPinnedMemory) {
  DeviceExec exec;
  DeviceRuntime& runtime = exec.runtime();
  const std::int64_t num_bytes = 777 * sizeof(int);
  auto* pinned = static_cast<int*>(runtime.allocate_pinned(num_bytes));
  ASSERT_NE(pinned, nullptr);
  const DeviceArray<int> there(exec, counted(777));
  runtime.copy(exec.exec().stream, pinned, there.data(), num_bytes);
  runtime.synchronize(exec.exec().stream);
  EXPECT_EQ(std::vector<int>(pinned, pinned + 777), counted(777));
  runtime.release_pinned(pinned, num_bytes);
}

TEST(GpuRuntime, MemoryThatIsRefusedIsANullPointer) {
  DeviceExec exec;
  EXPECT_EQ(exec.runtime().allocate(std::int64_t{1} << 55), nullptr);
  const DeviceArray<int> after(exec, counted(3));  // and the refusal is not what a later call fails with
  EXPECT_EQ(after.values(), counted(3));
}

}  // namespace
}  // namespace longspan
