// The emulator itself: threads that take turns, what they do together, and what it says of a kernel that is wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "device/async_copy.cuh"
#include "device/launch.cuh"
#include "device/warp.cuh"
#include "kernels/cuda/emulated/order.h"
#include "tests/kernels/cuda/device_memory.h"
#include "tests/support/expect_error.h"

namespace longspan::cuda {
namespace {

using testing::DeviceArray;
using testing::DeviceExec;

const std::vector<emulated::ThreadOrder> kOrders = {{emulated::OrderKind::kForward},
                                                    {emulated::OrderKind::kReversed},
                                                    {emulated::OrderKind::kShuffled, 1},
                                                    {emulated::OrderKind::kShuffled, 2}};

class Emulator : public ::testing::Test {
 protected:
  ~Emulator() override { emulated::set_thread_order({}); }
  DeviceExec exec_;
};

__global__ void indices_kernel(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + static_cast<unsigned>(thread_of_block())] =
      static_cast<int>(threadIdx.x + 100 * threadIdx.y + 10000 * threadIdx.z + 1000000 * block);
}

TEST_F(Emulator, EveryThreadOfEveryBlockRunsOnce) {
  DeviceArray<int> out(exec_, std::vector<int>(2 * 3 * 2 * 64, -1));
  launch(exec_, "indices", {.grid = dim3(2, 3, 2), .block = dim3(8, 4, 2)}, indices_kernel, out.data());
  const std::vector<int> values = out.values();
  for (int i = 0; i < static_cast<int>(values.size()); ++i) {
    const int t = i % 64;
    EXPECT_EQ(values[static_cast<std::size_t>(i)], t % 8 + 100 * (t / 8 % 4) + 10000 * (t / 32) + 1000000 * (i / 64));
  }
}

__global__ void reverse_kernel(int* data) {
  __shared__ int shared[256];
  shared[threadIdx.x] = data[threadIdx.x];
  sync_block();
  data[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}
__global__ void reverse_without_barrier_kernel(int* data) {
  __shared__ int unguarded[256];
  unguarded[threadIdx.x] = data[threadIdx.x];
  data[threadIdx.x] = unguarded[blockDim.x - 1 - threadIdx.x];
}

std::vector<int> counted(int count) {
  std::vector<int> values(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = i + 1;
  return values;
}

TEST_F(Emulator, BarrierOfTheBlockHoldsInEveryOrder) {
  std::vector<int> expected = counted(256);
  std::reverse(expected.begin(), expected.end());
  for (const emulated::ThreadOrder order : kOrders) {
    emulated::set_thread_order(order);
    DeviceArray<int> data(exec_, counted(256));
    launch(exec_, "reverse", {.block = 256}, reverse_kernel, data.data());
    EXPECT_EQ(data.values(), expected);
  }
}

TEST_F(Emulator, MissingBarrierShows) {
  std::vector<std::vector<int>> results;
  for (const emulated::ThreadOrder order : kOrders) {
    emulated::set_thread_order(order);
    DeviceArray<int> data(exec_, counted(256));
    launch(exec_, "reverse_without_barrier", {.block = 256}, reverse_without_barrier_kernel, data.data());
    results.push_back(data.values());
  }
  EXPECT_NE(results[0], results[1]);
}

__global__ void lane_left_out_kernel() {
  if (lane() != 31) sync_warp();
}
__global__ void different_collectives_kernel() {
  if (lane() == 7)
    any(true);
  else
    sync_warp();
}
__global__ void thread_returns_kernel() {
  if (threadIdx.x == 40) return;
  sync_block();
}

TEST_F(Emulator, SaysWhoWaitsInVainAndWhere) {
  testing::expect_error(ErrorKind::kInternal,
                        {"kernel left_out, block (0, 0, 0)", "threads 0 to 30: sync_warp", "thread 31: finished"},
                        [&] { launch(exec_, "left_out", {.grid = 2, .block = 32}, lane_left_out_kernel); });
  testing::expect_error(ErrorKind::kInternal, {"threads 0 to 39: sync_block", "thread 40: finished", "41 to 63"},
                        [&] { launch(exec_, "returns", {.block = 64}, thread_returns_kernel); });
  testing::expect_error(ErrorKind::kInternal, {"lane 7 of warp 0", "ballot", "sync_warp"},
                        [&] { launch(exec_, "different", {.block = 32}, different_collectives_kernel); });
  // And goes on.
  DeviceArray<int> data(exec_, counted(64));
  launch(exec_, "reverse", {.block = 64}, reverse_kernel, data.data());
  EXPECT_EQ(data.values()[0], 64);
}

__global__ void read_before_waiting_kernel(const int* from, int* out) {
  __shared__ __align__(16) int arrived[4];
  for (int i = 0; i < 4; ++i) arrived[i] = -1;
  copy_async_16(arrived, from, 16);
  commit_copies();
  out[0] = arrived[0];
  wait_copies<0>();
  out[1] = arrived[0];
}

TEST_F(Emulator, CopiesLandNoEarlierThanTheWait) {
  DeviceArray<int> from(exec_, {7, 8, 9, 10}), out(exec_, {0, 0});
  launch(exec_, "read_before_waiting", {}, read_before_waiting_kernel, from.data(), out.data());
  EXPECT_EQ(out.values(), (std::vector<int>{-1, 7}));
}

__global__ void misaligned_copy_kernel(const int* from) {
  copy_async_16(dynamic_shared(), from + 1, 16);
}
__global__ void misaligned_load_kernel(const float* from, float* to) {
  store_vector(to, load_vector<4>(from + 1));
}
__global__ void overrun_kernel(int bytes) {
  for (int i = 0; i < bytes; ++i) dynamic_shared()[i] = 1;
}

TEST_F(Emulator, CatchesAddressesThatAGpuWouldRefuse) {
  DeviceArray<int> ints(exec_, counted(8));
  DeviceArray<float> floats(exec_, std::vector<float>(8, 1.0f));
  testing::expect_error(ErrorKind::kInternal, {"copy_async_16"}, [&] {
    launch(exec_, "misaligned", {.shared_bytes = 16}, misaligned_copy_kernel, ints.data());
  });
  testing::expect_error(ErrorKind::kInternal, {"no multiple of 16"},
                        [&] { launch(exec_, "misaligned", {}, misaligned_load_kernel, floats.data(), floats.data()); });
  launch(exec_, "exact", {.shared_bytes = 100}, overrun_kernel, 100);
  testing::expect_error(ErrorKind::kInternal, {"kernel overrun", "past its 100 bytes"},
                        [&] { launch(exec_, "overrun", {.shared_bytes = 100}, overrun_kernel, 101); });
}

TEST_F(Emulator, RefusesLaunchesThatAGpuWouldRefuse) {
  testing::expect_error(ErrorKind::kEnvironment, {"kernel large", "(1025, 1, 1)"},
                        [&] { launch(exec_, "large", {.block = 1025}, overrun_kernel, 0); });
  testing::expect_error(ErrorKind::kInternal, {"kernel greedy", "232449 bytes"},
                        [&] { launch(exec_, "greedy", {.shared_bytes = 227 * 1024 + 1}, overrun_kernel, 0); });
  launch(exec_, "nothing", {.grid = 0}, overrun_kernel, 1);
}

// Each block adds its number to a list once the block before it has.
__global__ void queue_kernel(int* next, int* list) {
  if (threadIdx.x == 0) {
    while (atomic_load_acquire(next) != static_cast<int>(blockIdx.x)) {
    }
    list[blockIdx.x] = blockIdx.x == 0 ? 1 : list[blockIdx.x - 1] * 3 % 1009;
    atomic_store_release(next, static_cast<int>(blockIdx.x) + 1);
  }
  sync_block();
}
__global__ void take_a_number_kernel(int* next, int* list) {
  if (threadIdx.x == 0) list[blockIdx.x] = atomic_add(next, 1);
}

TEST_F(Emulator, BlocksWaitForBlocksOfLowerNumber) {
  std::vector<std::vector<int>> results;
  for (const emulated::ThreadOrder order : kOrders) {
    emulated::set_thread_order(order);
    DeviceArray<int> next(exec_, {0}), list(exec_, std::vector<int>(37, -1));
    launch(exec_, "queue", {.grid = 37, .block = 32}, queue_kernel, next.data(), list.data());
    results.push_back(list.values());
    EXPECT_EQ(results.back(), results.front());
    EXPECT_EQ(next.values(), std::vector<int>{37});
  }
}

TEST_F(Emulator, OtherOrdersOfBlocksShowWhatDependsOnTheirComing) {
  std::vector<std::vector<int>> results;
  for (const emulated::ThreadOrder order : kOrders) {
    emulated::set_thread_order(order);
    DeviceArray<int> next(exec_, {0}), list(exec_, std::vector<int>(37, -1));
    launch(exec_, "take_a_number", {.grid = 37, .block = 32}, take_a_number_kernel, next.data(), list.data());
    results.push_back(list.values());
  }
  EXPECT_NE(results[0], results[1]);
  EXPECT_NE(results[2], results[3]);
}

__global__ void wait_for_nobody_kernel(const int* never) {
  while (atomic_load_acquire(never) == 0) {
  }
}
__global__ void one_block_fails_kernel(const int* never) {
  if (blockIdx.x == 1) trap();
  while (atomic_load_acquire(never) == 0) {
  }
}

TEST_F(Emulator, WaitingForBlocksThatNeverComeIsAnError) {
  DeviceArray<int> never(exec_, {0});
  for (const emulated::ThreadOrder order : kOrders) {
    emulated::set_thread_order(order);
    testing::expect_error(ErrorKind::kInternal, {"no thread can go on", "threads 0 to 31: atomic_load_acquire"}, [&] {
      launch(exec_, "forlorn", {.grid = 11, .block = 32}, wait_for_nobody_kernel, never.data());
    });
  }
  emulated::set_thread_order({emulated::OrderKind::kReversed});
  testing::expect_error(ErrorKind::kInternal, {"block (1, 0, 0): trap in thread"}, [&] {
    launch(exec_, "fails", {.grid = 8, .block = 32}, one_block_fails_kernel, never.data());
  });
}

TEST_F(Emulator, RefusesPointersToHostMemory) {
  int here = 0;
  testing::expect_error(ErrorKind::kInternal, {"kernel reverse", "host memory"},
                        [&] { launch(exec_, "reverse", {.block = 32}, reverse_kernel, &here); });
  launch(exec_, "forlorn", {.grid = 0}, wait_for_nobody_kernel, &here);  // nobody reads it
}

using EmulatorDeathTest = Emulator;

TEST_F(EmulatorDeathTest, HostCodeCannotTouchDeviceMemory) {
  DeviceArray<int> there(exec_, {1, 2, 3});
  const volatile int* data = there.data();
  EXPECT_DEATH((void)data[0], "");
  launch(exec_, "exact", {.shared_bytes = 4}, overrun_kernel, 4);
  EXPECT_DEATH((void)data[0], "");
}

__global__ void touch_kernel(int* data, int place) {
  data[place] = 1;
}

TEST_F(EmulatorDeathTest, KernelsCannotRunOverTheEndOfDeviceMemory) {
  DeviceArray<int> there(exec_, std::vector<int>(64));
  launch(exec_, "touch", {}, touch_kernel, there.data(), 63);
  EXPECT_DEATH(launch(exec_, "touch", {}, touch_kernel, there.data(), 64), "");
}

}  // namespace
}  // namespace longspan::cuda
