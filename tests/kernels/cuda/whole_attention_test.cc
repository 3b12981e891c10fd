// Libraries' attention of whole rows beside this house's own on the same GPU: what both round to bf16 once.
#include "kernels/ops/whole_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/kernels/cuda/device_memory.h"

namespace longspan {
namespace {

using testing::DeviceArray;
using testing::DeviceExec;

std::vector<bf16> random_values(std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<bf16> values(static_cast<std::size_t>(count));
  for (bf16& value : values) value = bf16(normal(random));
  return values;
}

// ‖a − b‖ / ‖b‖; not a number where either is none.
template <class A, class B>
double relative_error(const std::vector<A>& a, const std::vector<B>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<float>(a[i]), y = static_cast<float>(b[i]);
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  return std::sqrt(difference / norm);
}

struct Problem {
  std::int64_t documents, length, heads, kv_heads, size;
  std::int64_t hi;  // of the band: 0 causal, else full
};

void expect_alike(const Problem& p) {
  DeviceExec exec(std::int64_t{1} << 26);
  const std::int64_t tokens = p.documents * p.length;
  const AttentionDesc desc{
      Device::kCuda, DType::kBF16, p.heads, p.kv_heads, p.size, p.size, 1.0f / std::sqrt(static_cast<float>(p.size))};
  const DeviceArray<bf16> q(exec, random_values(tokens * p.heads * p.size, 1));
  const DeviceArray<bf16> k(exec, random_values(tokens * p.kv_heads * p.size, 2));
  const DeviceArray<bf16> v(exec, random_values(tokens * p.kv_heads * p.size, 3));
  const std::size_t outputs = static_cast<std::size_t>(tokens * p.heads * p.size);
  const DeviceArray<float> carry(exec, std::vector<float>(outputs, 1e30f));
  const DeviceArray<float> lse(exec, std::vector<float>(outputs / static_cast<std::size_t>(p.size), 1e30f));
  const DeviceArray<float> whole_lse(exec, std::vector<float>(outputs / static_cast<std::size_t>(p.size), 1e30f));
  const DeviceArray<bf16> out(exec, std::vector<bf16>(outputs, bf16(1e30f)));
  const DeviceArray<bf16> whole_out(exec, std::vector<bf16>(outputs, bf16(1e30f)));
  std::vector<AttentionTask> tasks;
  for (std::int64_t begin = 0; begin < tokens; begin += p.length)
    tasks.push_back({begin,
                     begin + p.length,
                     begin,
                     begin + p.length,
                     0,
                     p.heads,
                     {Band::kUnboundedLow, p.hi == 0 ? 0 : Band::kUnboundedHigh}});
  const auto rows = [&](const auto& array, DType dtype, std::int64_t heads) {
    return Tensor(array.data(), dtype, {tokens, heads, p.size}, Device::kCuda);
  };
  const auto lse_rows = [&](const DeviceArray<float>& array) {
    return Tensor(array.data(), DType::kF32, {tokens, p.heads}, Device::kCuda);
  };
  const Tensor tq = rows(q, DType::kBF16, p.heads), tk = rows(k, DType::kBF16, p.kv_heads),
               tv = rows(v, DType::kBF16, p.kv_heads), tcarry = rows(carry, DType::kF32, p.heads);
  clear_carry(exec, tcarry, lse_rows(lse));
  attention_forward(exec, {desc, tq, tk, tv, tcarry, lse_rows(lse), tasks});
  finish_forward(exec, tcarry, lse_rows(lse), {}, rows(out, DType::kBF16, p.heads), lse_rows(lse));

  const Tensor scratch =
      exec.arena().allocate("scratch", MemoryCategory::kWorkspace, DType::kI8, {kWholeAttentionScratch});
  const WholeAttention args{desc,  tq,     tk, tv, rows(whole_out, DType::kBF16, p.heads), lse_rows(whole_lse),
                            tasks, scratch};
  ASSERT_TRUE(whole_attention_forward(exec, args)) << *whole_attention_ops().front()->why_unsupported(exec, args);
  // Probabilities are bf16 for the product with values on both sides, and the result once more: some 2^-9 each.
  EXPECT_LT(relative_error(whole_out.values(), out.values()), 1e-2);
  EXPECT_LT(relative_error(whole_lse.values(), lse.values()), 1e-4);
}

class WholeAttentionOnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (whole_attention_ops().empty()) GTEST_SKIP() << "this build has no library of attention";
  }
};

TEST_F(WholeAttentionOnGpu, OneCausalDocument) {
  expect_alike({1, 300, 4, 4, 64, 0});
}
TEST_F(WholeAttentionOnGpu, DocumentsOfOneLengthAndSharedHeads) {
  expect_alike({3, 256, 8, 2, 128, 0});
}
TEST_F(WholeAttentionOnGpu, FullMask) {
  expect_alike({2, 128, 4, 2, 64, 1});
}

}  // namespace
}  // namespace longspan
