// The device's vocabulary against what it promises, wherever the kernels run.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "device/async_copy.cuh"
#include "device/launch.cuh"
#include "device/math.cuh"
#include "device/matrix.cuh"
#include "device/warp.cuh"
#include "tests/kernels/cuda/device_memory.h"

namespace longspan::cuda {
namespace {

using testing::DeviceArray;
using testing::DeviceExec;

class Vocabulary : public ::testing::Test {
 protected:
  DeviceExec exec_;
};

__global__ void collectives_kernel(int* out) {
  const int x = lane() * lane();
  int* mine = out + thread_of_block() * 8;
  mine[0] = shuffle(x, 5);
  mine[1] = shuffle_xor(x, 3);
  mine[2] = shuffle_down(x, 4);
  mine[3] = shuffle_up(x, 4);
  mine[4] = static_cast<int>(ballot(lane() % 3 == 0));
  mine[5] = any(lane() == 31) + 2 * all(lane() < 31);
  mine[6] = warp_sum(x);
  mine[7] = warp_max(x % 23);
}

TEST_F(Vocabulary, CollectivesGiveEachLaneItsValue) {
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
                                       0b01001001001001001001001001001001,
                                       1,
                                       31 * 32 * 63 / 6,
                                       18};
    EXPECT_EQ(mine, expected) << "thread " << t;
  }
}

__global__ void wide_shuffle_kernel(double* out) {
  out[lane()] = shuffle_xor(1.0 + lane() * 0x1p-40, 1);
}

TEST_F(Vocabulary, ShufflesCarry64Bits) {
  DeviceArray<double> out(exec_, std::vector<double>(32));
  launch(exec_, "wide_shuffle", {.block = 32}, wide_shuffle_kernel, out.data());
  for (int l = 0; l < 32; ++l) EXPECT_EQ(out.values()[static_cast<std::size_t>(l)], 1.0 + (l ^ 1) * 0x1p-40);
}

__global__ void block_sums_kernel(const float* in, float* out) {
  __shared__ float scratch[8];
  const float x = in[thread_of_block()];
  const float sum = block_sum(x, scratch), max = block_max(x, scratch);
  out[2 * thread_of_block()] = sum;
  out[2 * thread_of_block() + 1] = max;
}

TEST_F(Vocabulary, BlockSumsAreTheSameBitsInEveryThread) {
  std::vector<float> in(256);
  std::mt19937 random(1);
  double exact = 0;
  for (float& x : in) exact += x = std::normal_distribution<float>()(random);
  DeviceArray<float> from(exec_, in), out(exec_, std::vector<float>(512));
  launch(exec_, "block_sums", {.block = 256}, block_sums_kernel, from.data(), out.data());
  const std::vector<float> values = out.values();
  EXPECT_NEAR(values[0], exact, 256 * 5 * 0x1p-24);
  for (std::size_t t = 0; t < 256; ++t) {
    EXPECT_EQ(values[2 * t], values[0]);
    EXPECT_EQ(values[2 * t + 1], *std::max_element(in.begin(), in.end()));
  }
}

// Two warps fill a buffer, two empty it; each side waits for the other at a barrier of its own.
__global__ void pass_on_kernel(const int* in, int* out, int rounds) {
  __shared__ int buffer[64];
  constexpr int kFull = 1, kEmpty = 2, kAll = 128;
  const int t = thread_of_block();
  if (t < 64) {
    for (int r = 0; r < rounds; ++r) {
      if (r > 0) sync_named(kEmpty, kAll);
      buffer[t] = in[r * 64 + t];
      arrive_named(kFull, kAll);
    }
  } else {
    for (int r = 0; r < rounds; ++r) {
      sync_named(kFull, kAll);
      out[r * 64 + t - 64] = buffer[127 - t];
      if (r + 1 < rounds) arrive_named(kEmpty, kAll);
    }
  }
}

TEST_F(Vocabulary, NamedBarriersPassABufferOn) {
  std::vector<int> in(64 * 5), expected(64 * 5);
  for (int i = 0; i < 64 * 5; ++i) {
    in[static_cast<std::size_t>(i)] = i;
    expected[static_cast<std::size_t>(i)] = i / 64 * 64 + 63 - i % 64;
  }
  DeviceArray<int> from(exec_, in), out(exec_, std::vector<int>(64 * 5, -1));
  launch(exec_, "pass_on", {.block = 128}, pass_on_kernel, from.data(), out.data(), 5);
  EXPECT_EQ(out.values(), expected);
}

__global__ void copies_kernel(const int* in, int* out, int chunks) {
  int* shared = reinterpret_cast<int*>(dynamic_shared());
  const int t = thread_of_block();
  for (int stage = 0; stage < 2; ++stage) {
    const int chunk = stage * 32 + t;
    copy_async_16(shared + chunk * 4, in + chunk * 4, chunk < chunks ? 16 : 0);
    commit_copies();
  }
  wait_copies<1>();
  sync_block();
  for (int i = 0; i < 4; ++i) out[t * 4 + i] = shared[(31 - t) * 4 + i];
  wait_copies<0>();
  sync_block();
  for (int i = 0; i < 4; ++i) out[128 + t * 4 + i] = shared[128 + (31 - t) * 4 + i];
}

TEST_F(Vocabulary, CopiesArriveByGroupsAndFillWithZeros) {
  constexpr int kChunks = 50;
  std::vector<int> in(64 * 4);
  for (int i = 0; i < 64 * 4; ++i) in[static_cast<std::size_t>(i)] = i + 1;
  DeviceArray<int> from(exec_, in), out(exec_, std::vector<int>(256, -1));
  launch(exec_, "copies", {.block = 32, .shared_bytes = 64 * 16}, copies_kernel, from.data(), out.data(), kChunks);
  const std::vector<int> values = out.values();
  for (int i = 0; i < 256; ++i) {
    const int chunk = i / 128 * 32 + 31 - i % 128 / 4;
    EXPECT_EQ(values[static_cast<std::size_t>(i)], chunk < kChunks ? chunk * 4 + i % 4 + 1 : 0) << i;
  }
}

// One warp: d [16, 8] = a [16, 16] b [16, 8]. a is given row by row; b column by column or row by row.
enum class RowsOfB : std::uint8_t { kColumns, kRows };
template <RowsOfB rows_of_b>
__global__ void product_kernel(const bf16* a, const bf16* b, float* d) {
  __shared__ __align__(16) std::uint16_t shared_a[16 * 16], shared_b[16 * 8];
  const int l = lane();
  for (int i = l; i < 16 * 16; i += 32) shared_a[i] = a[i].bits;
  for (int i = l; i < 16 * 8; i += 32) shared_b[i] = b[i].bits;
  sync_warp();
  std::uint32_t fragment_a[4], fragment_b[2];
  // Matrices of a: rows 0-7 and 8-15 of the first 8 columns, then of the others.
  load_matrix_x4(fragment_a, shared_a + (l % 16) * 16 + l / 16 * 8);
  if constexpr (rows_of_b == RowsOfB::kColumns)
    load_matrix_x2(fragment_b, shared_b + l % 8 * 16 + l / 8 % 2 * 8);
  else
    load_matrix_transposed_x2(fragment_b, shared_b + l % 16 * 8);
  float sum[4] = {1, 2, 3, 4};
  multiply_add(sum, fragment_a, fragment_b);
  const int row = l / 4, column = l % 4 * 2;
  d[row * 8 + column] = sum[0];
  d[row * 8 + column + 1] = sum[1];
  d[(row + 8) * 8 + column] = sum[2];
  d[(row + 8) * 8 + column + 1] = sum[3];
}

TEST_F(Vocabulary, FragmentsMultiplyAsMatricesDo) {
  std::vector<bf16> a(16 * 16), rows(16 * 8), columns(16 * 8);
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (bf16& x : a) x = bf16(normal(random));
  for (int k = 0; k < 16; ++k)
    for (int n = 0; n < 8; ++n)
      rows[static_cast<std::size_t>(k * 8 + n)] = columns[static_cast<std::size_t>(n * 16 + k)] = bf16(normal(random));
  for (const RowsOfB rows_of_b : {RowsOfB::kColumns, RowsOfB::kRows}) {
    const bool by_columns = rows_of_b == RowsOfB::kColumns;
    DeviceArray<bf16> left(exec_, a), right(exec_, by_columns ? columns : rows);
    DeviceArray<float> out(exec_, std::vector<float>(16 * 8, -1));
    launch(exec_, "product", {.block = 32},
           by_columns ? product_kernel<RowsOfB::kColumns> : product_kernel<RowsOfB::kRows>, left.data(), right.data(),
           out.data());
    const std::vector<float> values = out.values();
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 8; ++n) {
        double sum = 1 + m / 8 * 2 + n % 2;  // what the accumulators held
        for (int k = 0; k < 16; ++k)
          sum += static_cast<double>(static_cast<float>(a[static_cast<std::size_t>(m * 16 + k)])) *
                 static_cast<float>(rows[static_cast<std::size_t>(k * 8 + n)]);
        EXPECT_NEAR(values[static_cast<std::size_t>(m * 8 + n)], sum, 1e-4) << m << ", " << n;
      }
  }
}

__global__ void transposed_kernel(const std::uint16_t* in, std::uint32_t* out) {
  __shared__ __align__(16) std::uint16_t shared[4 * 64];
  for (int i = lane(); i < 256; i += 32) shared[i] = in[i];
  sync_warp();
  std::uint32_t r[4];
  load_matrix_transposed_x4(r, shared + lane() * 8);
  for (int m = 0; m < 4; ++m) out[m * 32 + lane()] = r[m];
}

TEST_F(Vocabulary, TransposedMatricesChangeRowsAndColumns) {
  std::vector<std::uint16_t> in(256);
  for (int i = 0; i < 256; ++i) in[static_cast<std::size_t>(i)] = static_cast<std::uint16_t>(i);
  DeviceArray<std::uint16_t> from(exec_, in);
  DeviceArray<std::uint32_t> out(exec_, std::vector<std::uint32_t>(128));
  launch(exec_, "transposed", {.block = 32}, transposed_kernel, from.data(), out.data());
  const std::vector<std::uint32_t> values = out.values();
  for (std::uint32_t m = 0; m < 4; ++m)
    for (std::uint32_t l = 0; l < 32; ++l) {
      const std::uint32_t row = l % 4 * 2, column = l / 4, first = m * 64 + row * 8 + column;
      EXPECT_EQ(values[m * 32 + l], first | (first + 8) << 16);
    }
}

__global__ void functions_kernel(const float* in, float* out, int count) {
  const int i = thread_of_block();
  if (i >= count) return;
  const float x = in[i];
  float* mine = out + 8 * i;
  mine[0] = exp2(x);
  mine[1] = exp(x);
  mine[2] = log(x);
  mine[3] = log2(x);
  mine[4] = rsqrt(x);
  mine[5] = reciprocal(x);
  mine[6] = fma(x, x, -1.0f);
  const float2 pair = unpack_bf16(pack_bf16(x, -x * 1.001f));
  mine[7] = pair.x + 1000 * pair.y;
}

// Errors of the hardware's functions: "CUDA C++ Programming Guide", tables of intrinsic functions and of ex2, lg2.
TEST_F(Vocabulary, FunctionsAreAsExactAsTheHardwares) {
  const std::vector<float> in = {0.25f, 0.5f, 0.7f, 1.0f, 1.5f, 2.0f, 3.1f, 9.0f, 17.3f};
  DeviceArray<float> from(exec_, in), out(exec_, std::vector<float>(in.size() * 8));
  launch(exec_, "functions", {.block = 32}, functions_kernel, from.data(), out.data(), static_cast<int>(in.size()));
  const std::vector<float> values = out.values();
  for (std::size_t i = 0; i < in.size(); ++i) {
    const double x = in[i];
    const float* mine = &values[8 * i];
    EXPECT_NEAR(mine[0] / std::exp2(x), 1, 0x1p-21);
    EXPECT_NEAR(mine[1] / std::exp(x), 1, (2 + 1.173 * x) * 0x1p-23);
    EXPECT_NEAR(mine[2], std::log(x), std::max(0x1p-21, 4 * 0x1p-23 * std::abs(std::log(x))));
    EXPECT_NEAR(mine[3], std::log2(x), std::max(0x1p-21, 4 * 0x1p-23 * std::abs(std::log2(x))));
    EXPECT_NEAR(mine[4] * std::sqrt(x), 1, 0x1p-22);
    EXPECT_NEAR(mine[5] * x, 1, 0x1p-23);
    EXPECT_EQ(mine[6], std::fma(in[i], in[i], -1.0f));
    const auto rounded = [](float value) { return static_cast<float>(bf16(value)); };
    EXPECT_EQ(mine[7], rounded(in[i]) + 1000 * rounded(-in[i] * 1.001f));
  }
}

__global__ void count_kernel(int* counter, float* sum) {
  atomic_add(counter, 2);
  atomic_add(sum, 1.0f);
}

TEST_F(Vocabulary, AtomicsLoseNothing) {
  DeviceArray<int> counter(exec_, {5});
  DeviceArray<float> sum(exec_, {0.5f});
  launch(exec_, "count", {.grid = 9, .block = 96}, count_kernel, counter.data(), sum.data());
  EXPECT_EQ(counter.values()[0], 5 + 2 * 9 * 96);
  EXPECT_EQ(sum.values()[0], 0.5f + 9 * 96);
}

TEST_F(Vocabulary, DescribesTheDevice) {
  const DeviceProperties& properties = properties_of(exec_);
  EXPECT_GT(properties.multiprocessors, 0);
  EXPECT_GE(properties.shared_bytes_per_block, 96 * 1024);
  EXPECT_GT(properties.l2_bytes, 0);
  EXPECT_GE(properties.compute_capability, 80);
}

}  // namespace
}  // namespace longspan::cuda
