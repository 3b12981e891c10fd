#include "trainer/check/plain_bf16.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "kernels/core/dtype.h"

namespace longspan {
namespace {

float rounded(float x) {
  return static_cast<float>(bf16(x));
}

std::vector<float> rounded(std::vector<float> values) {
  for (float& x : values) x = rounded(x);
  return values;
}

float dot(const float* a, const float* b, std::int64_t size) {
  float sum = 0;
  for (std::int64_t i = 0; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

void add_scaled(float* sum, float factor, const float* x, std::int64_t size) {
  for (std::int64_t i = 0; i < size; ++i) sum[i] += factor * x[i];
}

// The keys a query sees: first … last - 1, global token numbers.
struct Visible {
  std::int64_t first = 0, last = 0;
};

Visible visible_keys(const ContextProblem& problem, std::int64_t query) {
  const auto& ends = problem.cu_seqlens;
  const auto next = std::upper_bound(ends.begin(), ends.end(), query);
  Visible keys{*(next - 1), *next};
  if (problem.causal) keys.last = query + 1;
  if (problem.window > 0) keys.first = std::max(keys.first, query + 1 - problem.window);
  return keys;
}

class PlainAttention {
 public:
  explicit PlainAttention(const AttentionCase& c)
      : c_(c), q_(rounded(c.q)), k_(rounded(c.k)), v_(rounded(c.v)), dout_(rounded(c.dout)) {
    result_.out.resize(c.out.size());
    result_.lse.resize(c.lse.size());
    result_.dq.resize(c.dq.size());
    result_.dk.resize(c.dk.size());
    result_.dv.resize(c.dv.size());
    result_.dsink.resize(c.dsink.size());
  }

  AttentionResult run() {
    for (std::int64_t i = 0; i < c_.problem.num_tokens(); ++i) {
      for (std::int64_t h = 0; h < c_.problem.heads; ++h) row(i, h);
    }
    result_.dq = rounded(std::move(result_.dq));
    result_.dk = rounded(std::move(result_.dk));
    result_.dv = rounded(std::move(result_.dv));
    return std::move(result_);
  }

 private:
  // One row of every matrix: query i, query head h. Keys' and values' gradients add up over rows in fp32.
  void row(std::int64_t i, std::int64_t h) {
    const std::int64_t D = c_.head_dim, V = c_.value_dim;
    const std::int64_t g = h / (c_.problem.heads / c_.problem.kv_heads);
    const Visible keys = visible_keys(c_.problem, i);
    const auto at = [&](std::int64_t j) { return j * c_.problem.kv_heads + g; };
    const std::int64_t here = i * c_.problem.heads + h;
    const float* q = &q_[static_cast<std::size_t>(here * D)];
    const float* dout = &dout_[static_cast<std::size_t>(here * V)];

    scores_.clear();
    for (std::int64_t j = keys.first; j < keys.last; ++j)
      scores_.push_back(rounded(c_.scale * dot(q, &k_[at(j) * D], D)));
    const float lse = log_sum_exp(c_.sink.empty() ? -std::numeric_limits<float>::infinity() : c_.sink[h]);
    result_.lse[here] = lse;
    if (!std::isfinite(lse)) return;

    float* out = &result_.out[static_cast<std::size_t>(here * V)];
    for (std::int64_t j = keys.first; j < keys.last; ++j) {
      float& p = scores_[static_cast<std::size_t>(j - keys.first)];
      p = rounded(std::exp(p - lse));
      add_scaled(out, p, &v_[at(j) * V], V);
    }
    for (std::int64_t d = 0; d < V; ++d) out[d] = rounded(out[d]);

    const float delta = dot(dout, out, V);
    if (!c_.sink.empty()) result_.dsink[h] -= std::exp(c_.sink[h] - lse) * delta;
    for (std::int64_t j = keys.first; j < keys.last; ++j) {
      const float p = scores_[static_cast<std::size_t>(j - keys.first)];
      const float dp = rounded(dot(dout, &v_[at(j) * V], V));
      const float ds = rounded(c_.scale * p * (dp - delta));
      add_scaled(&result_.dq[here * D], ds, &k_[at(j) * D], D);
      add_scaled(&result_.dk[at(j) * D], ds, q, D);
      add_scaled(&result_.dv[at(j) * V], p, dout, V);
    }
  }

  float log_sum_exp(float sink) const {
    float largest = sink;
    for (const float s : scores_) largest = std::max(largest, s);
    if (!std::isfinite(largest)) return largest;
    float sum = std::exp(sink - largest);
    for (const float s : scores_) sum += std::exp(s - largest);
    return largest + std::log(sum);
  }

  const AttentionCase& c_;
  std::vector<float> q_, k_, v_, dout_;
  std::vector<float> scores_;  // of one row; then its probabilities
  AttentionResult result_;
};

}  // namespace

AttentionResult plain_bf16_attention(const AttentionCase& c) {
  return PlainAttention(c).run();
}

}  // namespace longspan
