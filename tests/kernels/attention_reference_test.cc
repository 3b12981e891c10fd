// The backward formulas of the reference against the complex step through its forward pass, sink and carry included.
#include "kernels/reference/attention_reference.h"

#include <gtest/gtest.h>

#include <random>

namespace longspan::reference {
namespace {

using Complex = std::complex<double>;
constexpr double kStep = 1e-30;

struct Problem {
  AttentionDesc desc;
  std::int64_t queries = 0, keys = 0;
  std::vector<AttentionTask> tasks;
  std::vector<double> q, k, v, dout, sink;

  Problem(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, std::int64_t value_dim,
          std::int64_t num_queries, std::int64_t num_keys)
      : queries(num_queries), keys(num_keys) {
    desc.heads = heads;
    desc.kv_heads = kv_heads;
    desc.head_dim = head_dim;
    desc.value_dim = value_dim;
    desc.scale = 0.37f;
    std::mt19937_64 random(11);
    std::normal_distribution<double> normal;
    const auto fill = [&](std::vector<double>& x, std::int64_t count) {
      x.resize(static_cast<std::size_t>(count));
      for (double& value : x) value = normal(random);
    };
    fill(q, queries * heads * head_dim);
    fill(k, keys * kv_heads * head_dim);
    fill(v, keys * kv_heads * value_dim);
    fill(dout, queries * heads * value_dim);
    fill(sink, heads);
  }

  struct Result {
    std::vector<Complex> out, lse;
  };

  // Tasks one call after the other, then the sink.
  Result forward(const std::vector<Complex>& cq, const std::vector<Complex>& ck, const std::vector<Complex>& cv,
                 const std::vector<Complex>& csink) const {
    Result x;
    x.out.assign(dout.size(), 0);
    x.lse.assign(static_cast<std::size_t>(queries * desc.heads), -std::numeric_limits<double>::infinity());
    for (const AttentionTask& task : tasks)
      attention_forward<Complex>({desc, queries, keys, cq, ck, cv, {&task, 1}}, x.out, x.lse);
    attention_finish<Complex>(desc, csink, x.out, x.lse);
    return x;
  }

  // d(dout . out) / d(operand n), exact to rounding: no difference is formed.
  double slope(const std::vector<double> Problem::*operand, std::size_t n) const {
    std::vector<Complex> cq(q.begin(), q.end()), ck(k.begin(), k.end()), cv(v.begin(), v.end());
    std::vector<Complex> csink(sink.begin(), sink.end());
    std::vector<Complex>& moved = operand == &Problem::q   ? cq
                                  : operand == &Problem::k ? ck
                                  : operand == &Problem::v ? cv
                                                           : csink;
    moved[n] += Complex(0, kStep);
    const Result x = forward(cq, ck, cv, csink);
    double sum = 0;
    for (std::size_t e = 0; e < dout.size(); ++e) sum += dout[e] * x.out[e].imag() / kStep;
    return sum;
  }

  void expect_slopes(const std::vector<double> Problem::*operand, const std::vector<double>& gradient) const {
    ASSERT_EQ((this->*operand).size(), gradient.size());
    for (std::size_t n = 0; n < gradient.size(); ++n) EXPECT_NEAR(slope(operand, n), gradient[n], 1e-12) << n;
  }

  void expect_right_gradients() const {
    const Result x =
        forward({q.begin(), q.end()}, {k.begin(), k.end()}, {v.begin(), v.end()}, {sink.begin(), sink.end()});
    std::vector<double> lse, delta(x.lse.size(), 0), dsink(sink.size(), 0);
    for (const Complex& value : x.lse) lse.push_back(value.real());
    for (std::size_t row = 0; row < delta.size(); ++row) {
      for (std::int64_t e = 0; e < desc.value_dim; ++e) {
        const std::size_t at = row * static_cast<std::size_t>(desc.value_dim) + static_cast<std::size_t>(e);
        delta[row] += dout[at] * x.out[at].real();
      }
      const std::size_t head = row % static_cast<std::size_t>(desc.heads);
      if (!sink.empty()) dsink[head] -= std::exp(sink[head] - lse[row]) * delta[row];
    }
    std::vector<double> dq(q.size(), 0), dk(k.size(), 0), dv(v.size(), 0);
    attention_backward({desc, queries, keys, q, k, v, tasks}, dout, lse, delta, {dq, dk, dv});
    expect_slopes(&Problem::q, dq);
    expect_slopes(&Problem::k, dk);
    expect_slopes(&Problem::v, dv);
    expect_slopes(&Problem::sink, dsink);
  }
};

TEST(AttentionReference, CausalBackwardIsTheSlope) {
  Problem problem(2, 1, 3, 5, 6, 6);
  problem.sink.clear();
  problem.tasks = {{0, 6, 0, 6, 0, 2, {Band::kUnboundedLow, 0}}};
  problem.expect_right_gradients();
}

TEST(AttentionReference, SinkBackwardIsTheSlope) {
  Problem problem(3, 3, 4, 2, 5, 5);
  problem.tasks = {{0, 5, 0, 5, 0, 3, {-2, -1}}};  // row 0 sees the sink alone
  problem.expect_right_gradients();
}

TEST(AttentionReference, SeveralTasksAndGroupedHeads) {
  Problem problem(4, 2, 2, 3, 5, 9);
  problem.tasks = {{0, 5, 0, 4, 0, 4, {}}, {1, 4, 4, 9, 1, 3, {-1, 2}}, {2, 3, 0, 9, 2, 4, {}}};
  problem.expect_right_gradients();
}

TEST(AttentionReference, OneCallEqualsMany) {
  Problem problem(2, 2, 4, 4, 7, 12);
  problem.tasks = {{0, 7, 0, 3, 0, 2, {}}, {0, 7, 3, 8, 0, 2, {-3, 1}}, {2, 7, 8, 12, 0, 1, {}}};
  std::vector<double> once(problem.dout.size(), 0), often = once;
  std::vector<double> lse_once(14, -std::numeric_limits<double>::infinity()), lse_often = lse_once;
  attention_forward<double>({problem.desc, 7, 12, problem.q, problem.k, problem.v, problem.tasks}, once, lse_once);
  for (const AttentionTask& task : problem.tasks)
    attention_forward<double>({problem.desc, 7, 12, problem.q, problem.k, problem.v, {&task, 1}}, often, lse_often);
  for (std::size_t n = 0; n < once.size(); ++n) EXPECT_NEAR(once[n], often[n], 1e-13);
  for (std::size_t n = 0; n < lse_once.size(); ++n) EXPECT_NEAR(lse_once[n], lse_often[n], 1e-13);
}

}  // namespace
}  // namespace longspan::reference
