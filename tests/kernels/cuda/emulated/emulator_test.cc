// The emulator itself: threads that take turns, what they do together, and what it says of a kernel that is wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

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

__global__ void collectives_kernel(int* out) {
  const int x = lane() * lane();
  int* mine = out + threadIdx.x * 8;
  mine[0] = shuffle(x, 5);
  mine[1] = shuffle_xor(x, 3);
  mine[2] = shuffle_down(x, 4);
  mine[3] = shuffle_up(x, 4);
  mine[4] = static_cast<int>(ballot(lane() % 3 == 0));
  mine[5] = any(lane() == 31) + 2 * all(lane() < 31);
  mine[6] = warp_sum(x);
  mine[7] = warp_max(x % 23);
}

TEST_F(Emulator, CollectivesGiveEachLaneItsValue) {
  for (const emulated::ThreadOrder order : kOrders) {
    emulated::set_thread_order(order);
    DeviceArray<int> out(exec_, std::vector<int>(64 * 8, -1));
    launch(exec_, "collectives", {.block = 64}, collectives_kernel, out.data());
    const std::vector<int> values = out.values();
    for (int t = 0; t < 64; ++t) {
      const int l = t % 32;
      const auto square = [](int i) { return i * i; };
      const std::vector<int> mine(values.begin() + t * 8, values.begin() + t * 8 + 8);
      const std::vector<int> expected = {25,
                                         square(l ^ 3),
                                         square(l + 4 < 32 ? l + 4 : l),
                                         square(l >= 4 ? l - 4 : l),
                                         static_cast<int>(0b01001001001001001001001001001001u),
                                         1,
                                         31 * 32 * 63 / 6,
                                         18};
      EXPECT_EQ(mine, expected) << "thread " << t;
    }
  }
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

}  // namespace
}  // namespace longspan::cuda
