// Work that is recorded once and given again.
#include <gtest/gtest.h>

#include <vector>

#include "device/launch.cuh"
#include "kernels/core/range.h"
#include "tests/kernels/cuda/device_memory.h"
#include "tests/support/expect_error.h"

namespace longspan {
namespace {

using cuda::launch;
using testing::DeviceArray;
using testing::DeviceExec;
using testing::expect_error;

__global__ void add_kernel(int* data, int count, int x) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) data[i] += x;
}

class DeviceGraphs : public ::testing::Test {
 protected:
  void add(const Exec& exec, const DeviceArray<int>& data, int x) {
    launch(exec, "add", {.grid = 2, .block = 32}, add_kernel, data.data(), 50, x);
  }
  Exec on(Stream stream) const {
    Exec exec = exec_;
    exec.stream = stream;
    return exec;
  }
  DeviceRuntime& runtime() const { return exec_.runtime(); }
  Stream stream() const { return exec_.exec().stream; }

  DeviceExec exec_;
  DeviceArray<int> a_{exec_, std::vector<int>(50, 1)}, b_{exec_, std::vector<int>(50, -1)};
};

TEST_F(DeviceGraphs, RecordedWorkIsDoneEachTimeItIsGivenAndNotBefore) {
  const auto graph = runtime().capture(stream(), [&] {
    const Range range(runtime(), "recorded");
    add(exec_, a_, 5);
    runtime().copy(stream(), b_.data(), a_.data(), 50 * sizeof(int));
    runtime().zero(stream(), b_.data(), sizeof(int));
  });
  EXPECT_EQ(a_.values(), std::vector<int>(50, 1));
  for (int times = 1; times <= 3; ++times) {
    graph->launch(stream());
    EXPECT_EQ(a_.values(), std::vector<int>(50, 1 + 5 * times));
    EXPECT_EQ(b_.values()[0], 0);
    EXPECT_EQ(b_.values()[49], 1 + 5 * times);
  }
}

TEST_F(DeviceGraphs, UploadsKeepWhatTheyRead) {
  std::vector<int> list = {7, 8, 9};
  const auto graph = runtime().capture(stream(), [&] {
    runtime().upload(stream(), a_.data(), list.data(), 3 * sizeof(int));
    add(exec_, a_, 1);
  });
  list = {0, 0, 0};
  for (int n = 0; n < 20; ++n) runtime().upload(stream(), b_.data(), list.data(), 3 * sizeof(int));
  for (int times = 0; times < 2; ++times) {
    graph->launch(stream());
    EXPECT_EQ(a_.values()[0], 8);
    EXPECT_EQ(a_.values()[2], 10);
  }
}

TEST_F(DeviceGraphs, StreamsThatWaitForAMarkAreRecordedToo) {
  const Stream other = runtime().make_stream(StreamUse::kTransfers);
  const auto forth = runtime().make_event(EventTiming::kOff), back = runtime().make_event(EventTiming::kOff);
  const auto graph = runtime().capture(stream(), [&] {
    add(exec_, a_, 10);
    forth->record(stream());
    forth->hold_back(other);
    runtime().copy(other, b_.data(), a_.data(), 50 * sizeof(int));
    back->record(other);
    back->hold_back(stream());
    add(exec_, b_, 100);
  });
  runtime().synchronize(other);  // is recorded no more, and holds nothing
  EXPECT_EQ(b_.values(), std::vector<int>(50, -1));
  graph->launch(stream());
  EXPECT_EQ(b_.values(), std::vector<int>(50, 111));
  add(on(other), a_, 1);
  runtime().synchronize(other);
  EXPECT_EQ(a_.values(), std::vector<int>(50, 12));
  runtime().destroy(other);
}

TEST_F(DeviceGraphs, RefusesWhatCannotBeRecorded) {
  std::vector<int> plain(50);
  expect_error(ErrorKind::kEnvironment, {},
               [&] { (void)runtime().capture(stream(), [&] { runtime().synchronize(stream()); }); });
  expect_error(ErrorKind::kEnvironment, {}, [&] {
    (void)runtime().capture(stream(), [&] { runtime().copy(stream(), plain.data(), a_.data(), 50 * sizeof(int)); });
  });
  const Stream other = runtime().make_stream(StreamUse::kCompute);
  const auto mark = runtime().make_event(EventTiming::kOff);
  expect_error(ErrorKind::kEnvironment, {}, [&] {
    (void)runtime().capture(stream(), [&] {
      mark->record(stream());
      mark->hold_back(other);
      add(on(other), a_, 1);  // nothing waits for it
    });
  });
  // And goes on.
  add(on(other), a_, 1);
  runtime().synchronize(other);
  add(exec_, a_, 1);
  EXPECT_EQ(a_.values(), std::vector<int>(50, 3));
  runtime().destroy(other);
}

TEST_F(DeviceGraphs, AnErrorEndsTheRecording) {
  expect_error(ErrorKind::kData, {"a bad batch"}, [&] {
    (void)runtime().capture(stream(), [&] {
      add(exec_, a_, 1);
      fail(ErrorKind::kData, "a bad batch");
    });
  });
  add(exec_, a_, 2);
  EXPECT_EQ(a_.values(), std::vector<int>(50, 3));
}

TEST(HostRuntime, RecordsNothing) {
  expect_error(ErrorKind::kUnsupported, {"host"}, [] { (void)host_runtime().capture({}, [] {}); });
}

}  // namespace
}  // namespace longspan
