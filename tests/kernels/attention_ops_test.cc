// What stands around the tasks of attention: counting pairs, checks, clearing, folding in the sink, delta.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/ops/attention.h"

namespace longspan {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::int64_t pairs_one_by_one(const AttentionTask& t) {
  std::int64_t pairs = 0;
  for (std::int64_t i = 0; i < t.q_end - t.q_begin; ++i)
    for (std::int64_t j = 0; j < t.kv_end - t.kv_begin; ++j) pairs += t.band.lo <= j - i && j - i <= t.band.hi;
  return pairs * (t.head_end - t.head_begin);
}

TEST(CountPairs, AgreesWithCounting) {
  for (std::int64_t rows = 0; rows < 8; ++rows)
    for (std::int64_t keys = 0; keys < 8; ++keys)
      for (std::int64_t lo = -9; lo < 10; ++lo)
        for (std::int64_t hi = lo - 1; hi < 10; ++hi) {
          const AttentionTask task{5, 5 + rows, 11, 11 + keys, 1, 4, {lo, hi}};
          ASSERT_EQ(count_pairs(task), pairs_one_by_one(task)) << rows << " " << keys << " " << lo << " " << hi;
        }
}

TEST(CountPairs, IsExactForHugeTasks) {
  const std::int64_t tokens = std::int64_t{1} << 31;
  EXPECT_EQ(count_pairs({0, tokens, 0, tokens, 0, 2, {Band::kUnboundedLow, 0}}), tokens * (tokens + 1));
  EXPECT_EQ(count_pairs({0, tokens, 0, tokens, 0, 1, {}}), tokens * tokens);
  EXPECT_EQ(count_pairs({0, tokens, 0, tokens, 0, 1, {-9, 0}}), 10 * tokens - 45);
  EXPECT_EQ(count_pairs({0, tokens, 0, tokens, 0, 1, {tokens, Band::kUnboundedHigh}}), 0);
}

// Three rows of two heads.
struct Rows {
  std::vector<float> out = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  std::vector<float> lse = {0, 1, -kInfinity, 50, -200, 3};
  std::vector<float> result = std::vector<float>(12), total = std::vector<float>(6);
  Exec exec;
  Tensor out_view{out.data(), DType::kF32, {3, 2, 2}}, lse_view{lse.data(), DType::kF32, {3, 2}};
  Tensor result_view{result.data(), DType::kF32, {3, 2, 2}}, total_view{total.data(), DType::kF32, {3, 2}};
  Rows() { out[4] = out[5] = 0; }  // the row that saw no key
};

TEST(FinishForward, WithoutSinkCopies) {
  Rows rows;
  finish_forward(rows.exec, rows.out_view, rows.lse_view, {}, rows.result_view, rows.total_view);
  EXPECT_EQ(rows.result, rows.out);
  EXPECT_EQ(rows.total, rows.lse);
}

TEST(FinishForward, FoldsInTheSink) {
  Rows rows;
  std::vector<float> sink = {0.5f, -kInfinity};
  finish_forward(rows.exec, rows.out_view, rows.lse_view, Tensor(sink.data(), DType::kF32, {2}), rows.result_view,
                 rows.total_view);
  const double total = std::log(1 + std::exp(0.5));
  EXPECT_FLOAT_EQ(rows.total[0], static_cast<float>(total));
  EXPECT_FLOAT_EQ(rows.result[1], static_cast<float>(2 * std::exp(-total)));
  EXPECT_EQ(rows.total[1], 1);  // a sink of -inf takes nothing
  EXPECT_EQ(rows.result[3], 4);
  EXPECT_EQ(rows.total[2], 0.5f);  // a row without keys sees the sink alone
  EXPECT_EQ(rows.result[4], 0);
  EXPECT_EQ(rows.total[4], 0.5f);  // far above lse = -200
  EXPECT_EQ(rows.result[8], 0);
  EXPECT_EQ(rows.total[3], 50);
}

TEST(FinishForward, MayAliasAndCasts) {
  Rows rows;
  const std::vector<float> expected = rows.out;
  std::vector<bf16> narrow(12);
  finish_forward(rows.exec, rows.out_view, rows.lse_view, {}, Tensor(narrow.data(), DType::kBF16, {3, 2, 2}),
                 rows.lse_view);
  for (std::size_t n = 0; n < narrow.size(); ++n) EXPECT_EQ(static_cast<float>(narrow[n]), expected[n]);
  finish_forward(rows.exec, rows.out_view, rows.lse_view, {}, rows.out_view, rows.lse_view);
  EXPECT_EQ(rows.out, expected);
}

TEST(ClearCarry, ForgetsEverything) {
  Rows rows;
  clear_carry(rows.exec, rows.out_view, rows.lse_view);
  EXPECT_EQ(rows.out, std::vector<float>(12, 0.0f));
  EXPECT_EQ(rows.lse, std::vector<float>(6, -kInfinity));
}

TEST(MergeCarry, IsWhatOneCarryOverBothWouldHold) {
  // Rows: both sides have seen keys (near, far apart either way, far below zero), one side only, neither.
  const std::vector<float> lse = {1, 2, 100, -300, -kInfinity, 5, -kInfinity};
  const std::vector<float> more = {1, 2.5f, -100, 300, 7, -kInfinity, -kInfinity};
  std::vector<float> out, more_out;
  for (std::size_t i = 0; i < lse.size(); ++i) {
    out.insert(out.end(), {lse[i] == -kInfinity ? 0.0f : 1.0f + static_cast<float>(i), 0.5f});
    more_out.insert(more_out.end(), {more[i] == -kInfinity ? 0.0f : -3.0f, 0.25f});
  }
  std::vector<float> merged = out, merged_lse = lse, other_lse = more;
  merge_carry({}, Tensor(merged.data(), DType::kF32, {7, 1, 2}), Tensor(merged_lse.data(), DType::kF32, {7, 1}),
              Tensor(more_out.data(), DType::kF32, {7, 1, 2}), Tensor(other_lse.data(), DType::kF32, {7, 1}));
  for (std::size_t i = 0; i < lse.size(); ++i) {
    const double a = lse[i], b = more[i], top = std::max(a, b);
    if (top == -kInfinity) {
      EXPECT_EQ(merged_lse[i], -kInfinity);
      EXPECT_EQ(merged[2 * i], 0);
      continue;
    }
    const double wa = std::exp(a - top), wb = std::exp(b - top);
    EXPECT_FLOAT_EQ(merged_lse[i], static_cast<float>(top + std::log(wa + wb)));
    for (std::size_t e = 2 * i; e < 2 * i + 2; ++e)
      EXPECT_NEAR(merged[e], (wa * out[e] + wb * more_out[e]) / (wa + wb), 1e-6);
  }
}

TEST(BeginBackward, SumsDeltaAndAddsToTheSink) {
  Rows rows;
  std::vector<float> dout(12, 0.5f), delta(6), sink = {-1, 2}, dsink = {1, 20};
  const Tensor delta_view(delta.data(), DType::kF32, {3, 2});
  begin_backward(rows.exec, rows.out_view, Tensor(dout.data(), DType::kF32, {3, 2, 2}), rows.lse_view,
                 Tensor(sink.data(), DType::kF32, {2}), delta_view, Tensor(dsink.data(), DType::kF32, {2}));
  EXPECT_EQ(delta, (std::vector<float>{1.5, 3.5, 0, 7.5, 9.5, 11.5}));
  // Head 0: rows of lse 0, -inf and -200; a total below the sink cannot be, and counts as the sink itself.
  EXPECT_FLOAT_EQ(dsink[0], static_cast<float>(1 - (std::exp(-1.0) * 1.5 + 9.5)));
  EXPECT_FLOAT_EQ(dsink[1], static_cast<float>(20 - (3.5 + std::exp(-48.0) * 7.5 + std::exp(-1.0) * 11.5)));
}

TEST(AttentionChecks, RefuseWhatDoesNotFit) {
  std::vector<float> memory(1024);
  const auto rows = [&](std::int64_t t, std::int64_t h, std::int64_t d) {
    return Tensor(memory.data(), DType::kF32, {t, h, d});
  };
  AttentionForward args;
  args.desc = {Device::kCpu, DType::kF32, 4, 2, 8, 8, 1.0f};
  args.q = rows(6, 4, 8), args.k = args.v = rows(5, 2, 8), args.out = rows(6, 4, 8);
  args.lse = Tensor(memory.data(), DType::kF32, {6, 4});
  const AttentionTask outside{0, 6, 0, 6, 0, 4, {}}, backwards{4, 2, 0, 5, 0, 4, {}};
  EXPECT_NO_THROW(attention_forward({}, args));
  for (const AttentionTask& task : {outside, backwards}) {
    AttentionForward wrong = args;
    wrong.tasks = {&task, 1};
    EXPECT_THROW(attention_forward({}, wrong), Error);
  }
  AttentionForward wrong = args;
  wrong.desc.kv_heads = 3;
  EXPECT_THROW(attention_forward({}, wrong), Error);
  wrong = args;
  wrong.v = rows(4, 2, 8);
  EXPECT_THROW(attention_forward({}, wrong), Error);
  wrong = args;
  wrong.q.stride[2] = 2;
  EXPECT_THROW(attention_forward({}, wrong), Error);
  wrong = args;
  wrong.out.dtype = DType::kBF16;
  EXPECT_THROW(attention_forward({}, wrong), Error);
}

}  // namespace
}  // namespace longspan
