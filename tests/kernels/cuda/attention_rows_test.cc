// The row-wise companions of attention on a GPU against the CPU's, and where softmax measures from.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "kernels/ops/attention.h"
#include "tests/kernels/cuda/device_memory.h"

namespace longspan {
namespace {

using testing::DeviceArray;
using testing::DeviceExec;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t kRows = 37, kHeads = 3, kWidth = 41;

std::vector<float> random_values(int seed, std::size_t size) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}
std::vector<float> random_out(int seed) {
  return random_values(seed, kRows * kHeads * kWidth);
}
// With rows that have seen no key, from `first` on every seventh.
std::vector<float> random_lse(int seed, std::size_t first) {
  std::vector<float> lse = random_values(seed, kRows * kHeads);
  for (std::size_t row = first; row < lse.size(); row += 7) lse[row] = -kInfinity;
  return lse;
}

template <class T>
Tensor rows_at(T* data, Device device) {
  return Tensor(data, dtype_of<T>(), {kRows, kHeads, kWidth}, device);
}
Tensor lse_at(float* data, Device device) {
  return Tensor(data, DType::kF32, {kRows, kHeads}, device);
}
Tensor heads_at(float* data, Device device) {
  return Tensor(data, DType::kF32, {kHeads}, device);
}

void expect_near(const std::vector<float>& got, const std::vector<float>& expected, float relative) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t n = 0; n < got.size(); ++n) {
    if (std::isinf(expected[n]))
      EXPECT_EQ(got[n], expected[n]) << n;
    else
      EXPECT_NEAR(got[n], expected[n], relative * (1 + std::abs(expected[n]))) << n;
  }
}

TEST(AttentionRows, ClearsACarry) {
  DeviceExec exec;
  const DeviceArray<float> out(exec, random_out(1)), lse(exec, random_lse(2, 0));
  clear_carry(exec, rows_at(out.data(), Device::kCuda), lse_at(lse.data(), Device::kCuda));
  EXPECT_EQ(out.values(), std::vector<float>(kRows * kHeads * kWidth, 0.0f));
  EXPECT_EQ(lse.values(), std::vector<float>(kRows * kHeads, -kInfinity));
}

TEST(AttentionRows, MergesCarries) {
  DeviceExec exec;
  std::vector<float> out = random_out(1), more_out = random_out(3), lse = random_lse(2, 0), more_lse = random_lse(4, 2);
  more_lse[0] = -kInfinity;  // nothing on either side
  lse[1] = 200;              // far above the other
  const DeviceArray<float> out_there(exec, out), lse_there(exec, lse), more_there(exec, more_out),
      more_lse_there(exec, more_lse);
  merge_carry(exec, rows_at(out_there.data(), Device::kCuda), lse_at(lse_there.data(), Device::kCuda),
              rows_at(more_there.data(), Device::kCuda), lse_at(more_lse_there.data(), Device::kCuda));
  merge_carry(Exec{}, rows_at(out.data(), Device::kCpu), lse_at(lse.data(), Device::kCpu),
              rows_at(more_out.data(), Device::kCpu), lse_at(more_lse.data(), Device::kCpu));
  expect_near(out_there.values(), out, 1e-5f);
  expect_near(lse_there.values(), lse, 1e-5f);
  EXPECT_EQ(lse[0], -kInfinity);
}

TEST(AttentionRows, FoldsInTheSinkAndTakesDelta) {
  DeviceExec exec;
  std::vector<float> out = random_out(1), lse = random_lse(2, 0), sink = {0.5f, -kInfinity, 3};
  std::vector<float> dout = random_out(5), delta(lse.size()), dsink = {1, 2, 3};
  std::vector<bf16> result(out.size());
  const DeviceArray<float> out_there(exec, out), lse_there(exec, lse), sink_there(exec, sink), dout_there(exec, dout),
      delta_there(exec, delta), dsink_there(exec, dsink);
  const DeviceArray<bf16> result_there(exec, result);
  const auto run = [](const Exec& on, const Tensor& o, const Tensor& l, const Tensor& s, const Tensor& r,
                      const Tensor& d, const Tensor& t, const Tensor& ds) {
    finish_forward(on, o, l, s, r, l);  // total_lse takes the place of lse
    begin_backward(on, r, d, l, s, t, ds);
  };
  run(exec, rows_at(out_there.data(), Device::kCuda), lse_at(lse_there.data(), Device::kCuda),
      heads_at(sink_there.data(), Device::kCuda), rows_at(result_there.data(), Device::kCuda),
      rows_at(dout_there.data(), Device::kCuda), lse_at(delta_there.data(), Device::kCuda),
      heads_at(dsink_there.data(), Device::kCuda));
  run(Exec{}, rows_at(out.data(), Device::kCpu), lse_at(lse.data(), Device::kCpu), heads_at(sink.data(), Device::kCpu),
      rows_at(result.data(), Device::kCpu), rows_at(dout.data(), Device::kCpu), lse_at(delta.data(), Device::kCpu),
      heads_at(dsink.data(), Device::kCpu));
  const std::vector<bf16> got = result_there.values();
  for (std::size_t n = 0; n < got.size(); ++n)
    EXPECT_NEAR(static_cast<float>(got[n]), static_cast<float>(result[n]),
                std::abs(static_cast<float>(result[n])) / 128)  // a rounding apart at most
        << n;
  expect_near(lse_there.values(), lse, 1e-5f);
  expect_near(delta_there.values(), delta, 2e-2f);  // of results that may be a rounding apart
  expect_near(dsink_there.values(), dsink, 2e-2f);
}

// Queries whose two best keys score alike, so that what is left is the rounding of their values' mean, which lies
// halfway between two bf16 numbers; other keys draw it a little towards zero.
struct Halfway {
  static constexpr std::int64_t kQueries = 256, kKeys = 4, kSize = 64;
  std::vector<bf16> q, k, v;
  std::vector<double> score;  // of the best two; the others have its negative

  Halfway() : q(kQueries * kSize), k(kKeys * kSize), v(kKeys * kSize) {
    std::mt19937 random(3);
    for (std::int64_t i = 0; i < kQueries; ++i) {
      q[i * kSize] = bf16(4.0f + static_cast<float>(random() % 512) / 256.0f);
      score.push_back(static_cast<float>(q[i * kSize]));
    }
    for (std::int64_t j = 0; j < kKeys; ++j) k[j * kSize] = bf16(j < 2 ? 1.0f : -1.0f);
    for (std::int64_t e = 0; e < kSize; ++e) {
      const int first = static_cast<int>(random() % 64) * 2, second = static_cast<int>(random() % 64) * 2 + 1;
      v[e] = bf16(-1.0f - static_cast<float>(first) / 128);
      v[kSize + e] = bf16(-1.0f - static_cast<float>(second) / 128);
    }
  }
  double value(std::int64_t j, std::int64_t e) const { return static_cast<float>(v[j * kSize + e]); }
  double exact(std::int64_t i, std::int64_t e) const {
    const double rest = std::exp(-2 * score[i]);
    return (value(0, e) + value(1, e)) / (2 + 2 * rest);
  }
  // Mean of (out, rounded to bf16, less the exact result) in units of the last place, which is 1/128 here.
  template <class Out>
  double bias(Out out) const {
    double sum = 0;
    for (std::int64_t i = 0; i < kQueries; ++i)
      for (std::int64_t e = 0; e < kSize; ++e)
        sum += static_cast<double>(static_cast<float>(bf16(static_cast<float>(out(i, e))))) - exact(i, e);
    return sum * 128 / (kQueries * kSize);
  }
  // The arithmetic in plain words: exponentials summed as they are, rounded for the product with values.
  double plain(std::int64_t i, std::int64_t e, SoftmaxOrigin origin) const {
    const double top = score[i] / std::log(2.0), point = 0.66014919;
    const double base = origin == SoftmaxOrigin::kMaximum ? top : std::ceil(top + 0.0976 - point) + point;
    const double best = std::exp2(top - base), rest = std::exp2(-top - base);
    const double rounded = static_cast<float>(bf16(static_cast<float>(best)));
    return rounded * (value(0, e) + value(1, e)) / (2 * best + 2 * rest);
  }
};

double bias_on_gpu(const Halfway& test, const AttentionOp& op, SoftmaxOrigin origin) {
  DeviceExec exec;
  const std::size_t size = Halfway::kQueries * Halfway::kSize;
  const DeviceArray<bf16> q(exec, test.q), k(exec, test.k), v(exec, test.v);
  const DeviceArray<float> out(exec, std::vector<float>(size)),
      lse(exec, std::vector<float>(Halfway::kQueries, -kInfinity));
  const AttentionDesc desc{.device = Device::kCuda,
                           .dtype = DType::kBF16,
                           .heads = 1,
                           .kv_heads = 1,
                           .head_dim = Halfway::kSize,
                           .value_dim = Halfway::kSize,
                           .scale = 1,
                           .origin = origin};
  const auto rows = [](auto* data, std::int64_t count) {
    return Tensor(data, dtype_of<std::remove_pointer_t<decltype(data)>>(), {count, 1, Halfway::kSize}, Device::kCuda);
  };
  const std::vector<AttentionTask> tasks = {{0, Halfway::kQueries, 0, Halfway::kKeys, 0, 1, {}}};
  EXPECT_FALSE(op.why_unsupported(desc));
  op.forward(exec, {desc, rows(q.data(), Halfway::kQueries), rows(k.data(), Halfway::kKeys),
                    rows(v.data(), Halfway::kKeys), rows(out.data(), Halfway::kQueries),
                    Tensor(lse.data(), DType::kF32, {Halfway::kQueries, 1}, Device::kCuda), tasks});
  const std::vector<float> got = out.values();
  return test.bias([&](std::int64_t i, std::int64_t e) { return got[i * Halfway::kSize + e]; });
}

TEST(SoftmaxOrigin, BelowOneFreesRoundingFromItsBias) {
  const Halfway test;
  const auto plain = [&](SoftmaxOrigin origin) {
    return test.bias([&](std::int64_t i, std::int64_t e) { return test.plain(i, e, origin); });
  };
  // All ties fall towards zero: half a unit each. With probabilities that are rounded they fall either way: by chance
  // 0.5 / sqrt(256) = 0.03 is left, and four times that is allowed.
  EXPECT_GT(plain(SoftmaxOrigin::kMaximum), 0.4);
  EXPECT_LT(std::abs(plain(SoftmaxOrigin::kBelowOne)), 0.125);
  int tried = 0;
  for (const AttentionOp* op : attention_ops()) {
    if (op->name() != "sm80" && op->name() != "sm90") continue;  // the others round no probability
    SCOPED_TRACE(op->name());
    const AttentionDesc desc{.device = Device::kCuda,
                             .dtype = DType::kBF16,
                             .heads = 1,
                             .kv_heads = 1,
                             .head_dim = Halfway::kSize,
                             .value_dim = Halfway::kSize,
                             .scale = 1};
    if (op->why_unsupported(desc)) continue;  // another GPU's
    ++tried;
    EXPECT_GT(bias_on_gpu(test, *op, SoftmaxOrigin::kMaximum), 0.4);
    EXPECT_LT(std::abs(bias_on_gpu(test, *op, SoftmaxOrigin::kBelowOne)), 0.125);
  }
  EXPECT_GT(tried, 0);
}

}  // namespace
}  // namespace longspan
