// The emulated copy engine, barriers and tensor cores of Hopper against plain loops, and what they say of kernels that
// are wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "device/bulk_copy.cuh"
#include "device/launch.cuh"
#include "device/math.cuh"
#include "device/registers.cuh"
#include "device/wgmma.cuh"
#include "kernels/cuda/emulated/order.h"
#include "tests/kernels/cuda/device_memory.h"
#include "tests/support/expect_error.h"

namespace longspan::cuda {
namespace {

using testing::DeviceArray;
using testing::DeviceExec;

const std::vector<emulated::ThreadOrder> kOrders = {
    {emulated::OrderKind::kForward}, {emulated::OrderKind::kReversed}, {emulated::OrderKind::kShuffled, 3}};

class Hopper : public ::testing::Test {
 protected:
  ~Hopper() override { emulated::set_thread_order({}); }
  DeviceExec exec_;
};

std::vector<bf16> random_values(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<bf16> values(count);
  for (bf16& value : values) value = bf16(normal(random));
  return values;
}

// Shared memory: a tile, then the barrier.
constexpr int kBoxRows = 24, kBoxBytes = kBoxRows * kPanelRowBytes;

struct Boxes {
  TensorMap map;
  int column, head, row;
  bf16 *before, *after;
};
__global__ void box_kernel(Boxes args) {
  Barrier64& barrier = *reinterpret_cast<Barrier64*>(dynamic_shared() + kBoxBytes);
  const auto element = [](int i) {
    return *reinterpret_cast<const bf16*>(dynamic_shared() + tile_offset(kBoxRows, i / 64, i % 64));
  };
  if (thread_of_block() == 0) {
    barrier.init(1);
    fence_barrier_init();
  }
  sync_block();
  if (thread_of_block() == 0) {
    barrier.arrive_and_expect(kBoxBytes);
    load_box(dynamic_shared(), args.map, barrier, args.column, args.head, args.row);
  }
  for (int i = thread_of_block(); i < kBoxRows * 64; i += 64) args.before[i] = element(i);
  barrier.wait(0);
  for (int i = thread_of_block(); i < kBoxRows * 64; i += 64) args.after[i] = element(i);
}

TEST_F(Hopper, BoxesLandWhenTheyAreWaitedForWithZerosOutside) {
  constexpr int kRows = 40, kHeads = 3, kColumns = 128, kStride = kHeads * kColumns + 8;
  const std::vector<bf16> values = random_values(kRows * kStride, 1);
  DeviceArray<bf16> rows(exec_, values);
  Tensor tensor(rows.data(), DType::kBF16, {kRows, kHeads, kColumns}, Device::kCuda);
  tensor.stride[0] = kStride;
  for (const emulated::ThreadOrder order : kOrders)
    for (const auto& [column, head, row] : {std::tuple(0, 0, 0), {64, 2, 7}, {64, 1, 30}, {0, 2, -5}, {0, 3, 0}}) {
      emulated::set_thread_order(order);
      const std::vector<bf16> empty(kBoxRows * 64);
      DeviceArray<bf16> before(exec_, empty), after(exec_, empty);
      launch(exec_, "box", {.block = 64, .shared_bytes = kBoxBytes + 8}, box_kernel,
             Boxes{make_tensor_map(tensor, kBoxRows), column, head, row, before.data(), after.data()});
      const std::vector<bf16> early = before.values(), landed = after.values();
      for (int i = 0; i < kBoxRows * 64; ++i) {
        const int r = row + i / 64;
        const bool inside = r >= 0 && r < kRows && head < kHeads;
        const float expected =
            inside
                ? static_cast<float>(values[static_cast<std::size_t>(r * kStride + head * kColumns + column + i % 64)])
                : 0.0f;
        ASSERT_EQ(static_cast<float>(landed[static_cast<std::size_t>(i)]), expected) << i;
        const bool at_once = order.kind == emulated::OrderKind::kShuffled;
        ASSERT_TRUE(at_once || std::isnan(static_cast<float>(early[static_cast<std::size_t>(i)]))) << i;
      }
    }
}

TEST_F(Hopper, CopyEngineWantsMultiplesOf16Bytes) {
  DeviceArray<bf16> rows(exec_, std::vector<bf16>(4096));
  Tensor tensor(rows.data(), DType::kBF16, {8, 2, 64}, Device::kCuda);
  tensor.stride[0] = 141;
  EXPECT_THROW(make_tensor_map(tensor, 8), Error);
}

// One thread hands numbers to 64 others through two slots.
__global__ void ring_kernel(int* sums) {
  struct Ring {
    int slots[2];
    Barrier64 full[2], empty[2];
  };
  Ring& ring = *reinterpret_cast<Ring*>(dynamic_shared());
  constexpr int kNumbers = 9;
  if (thread_of_block() == 0)
    for (int s = 0; s < 2; ++s) {
      ring.full[s].init(1);
      ring.empty[s].init(64);
    }
  sync_block();
  const int t = thread_of_block() - 32;
  if (t == -32) {
    for (int n = 0; n < kNumbers; ++n) {
      ring.empty[n % 2].wait(n / 2 % 2 ^ 1);
      ring.slots[n % 2] = n * n;
      ring.full[n % 2].arrive();
    }
  } else if (t >= 0) {
    int sum = 0;
    for (int n = 0; n < kNumbers; ++n) {
      ring.full[n % 2].wait(n / 2 % 2);
      sum += (n + 1) * ring.slots[n % 2];
      ring.empty[n % 2].arrive();
    }
    sums[t] = sum;
  }
}

TEST_F(Hopper, BarriersCountPhases) {
  int expected = 0;
  for (int n = 0; n < 9; ++n) expected += (n + 1) * n * n;
  for (const emulated::ThreadOrder order : kOrders) {
    emulated::set_thread_order(order);
    DeviceArray<int> sums(exec_, std::vector<int>(64, -1));
    launch(exec_, "ring", {.block = 96, .shared_bytes = 64}, ring_kernel, sums.data());
    EXPECT_EQ(sums.values(), std::vector<int>(64, expected));
  }
}

__global__ void barrier_in_vain_kernel() {
  Barrier64& barrier = *reinterpret_cast<Barrier64*>(dynamic_shared() + 16);
  if (thread_of_block() == 0) {
    barrier.init(1);
    barrier.arrive_and_expect(128);
  }
  sync_block();
  barrier.wait(0);
}
__global__ void too_many_arrivals_kernel() {
  Barrier64& barrier = *reinterpret_cast<Barrier64*>(dynamic_shared());
  if (thread_of_block() == 0) {
    barrier.init(1);
    barrier.arrive_and_expect(128);
    barrier.arrive();
  }
}
__global__ void no_barrier_kernel() {
  reinterpret_cast<Barrier64*>(dynamic_shared())->arrive();
}

TEST_F(Hopper, BarriersSayWhatIsWrong) {
  testing::expect_error(ErrorKind::kInternal, {"threads 0 to 31: Barrier64 at byte 16"},
                        [&] { launch(exec_, "in_vain", {.block = 32, .shared_bytes = 32}, barrier_in_vain_kernel); });
  testing::expect_error(ErrorKind::kInternal, {"more arrivals than the 1"}, [&] {
    launch(exec_, "too_many", {.block = 32, .shared_bytes = 32}, too_many_arrivals_kernel);
  });
  testing::expect_error(ErrorKind::kInternal, {"not initialised"},
                        [&] { launch(exec_, "none", {.block = 32, .shared_bytes = 32}, no_barrier_kernel); });
}

// d [64, N] = a [64, 32] b, in two steps; b is a tile [N, 32] of 64 columns or [32, N]. In shared memory.
template <int kColumns, Depth kDepthOfB>
struct ProductTiles {
  static constexpr int kRowsOfB = kDepthOfB == Depth::kAlongColumns ? kColumns : 32;
  static constexpr int kPanelsOfB = kDepthOfB == Depth::kAlongColumns ? 1 : kColumns / 64;
  static constexpr int kB = 64 * kPanelRowBytes, kBarrier = kB + kPanelsOfB * kRowsOfB * kPanelRowBytes;
  static constexpr int kBytes = kBarrier + 8;
};
enum class From { kShared, kRegisters };

template <int kColumns, Depth kDepthOfB, From kFrom>
__global__ void product_kernel(TensorMap a, TensorMap b, float* d_before, float* d_after) {
  using Tiles = ProductTiles<kColumns, kDepthOfB>;
  unsigned char* const shared = dynamic_shared();
  Barrier64& barrier = *reinterpret_cast<Barrier64*>(shared + Tiles::kBarrier);
  const int thread = thread_of_block();
  if (thread == 0) barrier.init(1);
  sync_block();
  if (thread == 0) {
    barrier.arrive_and_expect(Tiles::kBarrier);
    load_box(shared, a, barrier, 0, 0, 0);
    for (int panel = 0; panel < Tiles::kPanelsOfB; ++panel)
      load_box(shared + Tiles::kB + panel * Tiles::kRowsOfB * kPanelRowBytes, b, barrier, panel * 64, 0, 0);
  }
  barrier.wait(0);
  float d[kColumns / 2];
  for (float& x : d) x = 1000;
  fence_products();
  for (int step = 0; step < 2; ++step) {
    const Sum sum = step == 0 ? Sum::kFresh : Sum::kAdd;
    const std::uint64_t b_step =
        advanced(operand(shared + Tiles::kB, Tiles::kRowsOfB), step_offset(kDepthOfB, Tiles::kRowsOfB, 0, step));
    if constexpr (kFrom == From::kShared) {
      multiply<kDepthOfB>(d, advanced(operand(shared, 64), step_offset(Depth::kAlongColumns, 64, 0, step)), b_step,
                          sum);
    } else {
      std::uint32_t registers[4];
      for (int r = 0; r < 4; ++r) {
        const auto at = [&](int i) {
          return static_cast<float>(*reinterpret_cast<const bf16*>(
              shared + tile_offset(64, fragment_row(thread, i), step * 16 + fragment_column(thread, i))));
        };
        registers[r] = pack_bf16(at(2 * r), at(2 * r + 1));
      }
      multiply<kDepthOfB>(d, registers, b_step, sum);
    }
  }
  commit_products();
  const auto store = [&](float* to) {
    for (int i = 0; i < kColumns / 2; ++i) to[fragment_row(thread, i) * kColumns + fragment_column(thread, i)] = d[i];
  };
  store(d_before);
  wait_products<0>();
  store(d_after);
}

template <int kColumns, Depth kDepthOfB, From kFrom>
void check_product(const Exec& exec) {
  using Tiles = ProductTiles<kColumns, kDepthOfB>;
  const int columns_of_b = Tiles::kPanelsOfB * 64;
  const std::vector<bf16> a = random_values(64 * 64, 2);
  const std::vector<bf16> b = random_values(static_cast<std::size_t>(Tiles::kRowsOfB * columns_of_b), 3);
  DeviceArray<bf16> a_rows(exec, a), b_rows(exec, b);
  DeviceArray<float> before(exec, std::vector<float>(64 * kColumns)), after(exec, std::vector<float>(64 * kColumns));
  launch(exec, "product", {.block = 128, .shared_bytes = Tiles::kBytes}, product_kernel<kColumns, kDepthOfB, kFrom>,
         make_tensor_map(Tensor(a_rows.data(), DType::kBF16, {64, 1, 64}, Device::kCuda), 64),
         make_tensor_map(Tensor(b_rows.data(), DType::kBF16, {Tiles::kRowsOfB, 1, columns_of_b}, Device::kCuda),
                         Tiles::kRowsOfB),
         before.data(), after.data());
  EXPECT_EQ(before.values(), std::vector<float>(64 * kColumns, 1000));
  const std::vector<float> d = after.values();
  for (int m = 0; m < 64; ++m)
    for (int n = 0; n < kColumns; ++n) {
      double expected = 0;
      for (int k = 0; k < 32; ++k) {
        const int at = kDepthOfB == Depth::kAlongColumns ? n * columns_of_b + k : k * columns_of_b + n;
        expected += static_cast<double>(static_cast<float>(a[static_cast<std::size_t>(m * 64 + k)])) *
                    static_cast<float>(b[static_cast<std::size_t>(at)]);
      }
      ASSERT_NEAR(d[static_cast<std::size_t>(m * kColumns + n)], expected, 1e-4) << m << ", " << n;
    }
}

TEST_F(Hopper, ProductsReadTilesThroughDescriptors) {
  for (const emulated::ThreadOrder order : kOrders) {
    emulated::set_thread_order(order);
    check_product<64, Depth::kAlongColumns, From::kShared>(exec_);
    check_product<128, Depth::kAlongColumns, From::kShared>(exec_);
    check_product<64, Depth::kAlongRows, From::kShared>(exec_);
    check_product<128, Depth::kAlongRows, From::kShared>(exec_);
    check_product<64, Depth::kAlongColumns, From::kRegisters>(exec_);
    check_product<128, Depth::kAlongRows, From::kRegisters>(exec_);
  }
}

__global__ void no_fence_kernel() {
  float d[32] = {};
  multiply<Depth::kAlongColumns>(d, operand(dynamic_shared(), 64), operand(dynamic_shared(), 64), Sum::kFresh);
}

TEST_F(Hopper, ProductsWantAFence) {
  testing::expect_error(ErrorKind::kInternal, {"without fence_products"},
                        [&] { launch(exec_, "no_fence", {.block = 128, .shared_bytes = 8192}, no_fence_kernel); });
}

}  // namespace
}  // namespace longspan::cuda
