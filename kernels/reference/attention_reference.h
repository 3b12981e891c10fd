// Attention by its definition, one row at a time, for any scalar: double, or std::complex<double> so that tests can
// differentiate the forward pass by the complex step (Squire and Trapp 1998, SIAM Review 40) and check the backward.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "kernels/ops/attention.h"

namespace longspan::reference {

inline double real_part(double x) {
  return x;
}
inline double real_part(const std::complex<double>& x) {
  return x.real();
}

// Contiguous rows [T, H, D]; a desc gives heads and sizes.
template <class Scalar>
struct AttentionRows {
  AttentionDesc desc;
  std::int64_t num_queries = 0, num_keys = 0;
  std::span<const Scalar> q, k, v;
  std::span<const AttentionTask> tasks;

  const Scalar* query(std::int64_t i, std::int64_t h) const { return &q[(i * desc.heads + h) * desc.head_dim]; }
  const Scalar* key(std::int64_t j, std::int64_t h) const {
    return &k[(j * desc.kv_heads + kv_head(h)) * desc.head_dim];
  }
  const Scalar* value(std::int64_t j, std::int64_t h) const {
    return &v[(j * desc.kv_heads + kv_head(h)) * desc.value_dim];
  }
  std::int64_t kv_head(std::int64_t h) const { return h / (desc.heads / desc.kv_heads); }

  // scale * q_i . k_j
  Scalar score(std::int64_t i, std::int64_t j, std::int64_t h) const {
    Scalar sum = 0;
    for (std::int64_t e = 0; e < desc.head_dim; ++e) sum += query(i, h)[e] * key(j, h)[e];
    return static_cast<double>(desc.scale) * sum;
  }

  // Every (key, task) pair that row i of head h sees, a key as often as tasks show it.
  std::vector<std::int64_t> keys_of(std::int64_t i, std::int64_t h) const {
    std::vector<std::int64_t> keys;
    for (const AttentionTask& t : tasks) {
      if (i < t.q_begin || i >= t.q_end || h < t.head_begin || h >= t.head_end) continue;
      for (std::int64_t j = t.kv_begin; j < t.kv_end; ++j) {
        const std::int64_t offset = (j - t.kv_begin) - (i - t.q_begin);
        if (t.band.lo <= offset && offset <= t.band.hi) keys.push_back(j);
      }
    }
    return keys;
  }
};

// Merges all tasks into the carry out [Tq, H, Dv], lse [Tq, H].
template <class Scalar>
void attention_forward(const AttentionRows<Scalar>& rows, std::span<Scalar> out, std::span<Scalar> lse) {
  using std::exp, std::log;
  const AttentionDesc& desc = rows.desc;
  for (std::int64_t i = 0; i < rows.num_queries; ++i)
    for (std::int64_t h = 0; h < desc.heads; ++h) {
      const std::vector<std::int64_t> keys = rows.keys_of(i, h);
      if (keys.empty()) continue;
      Scalar& carried = lse[i * desc.heads + h];
      Scalar* result = &out[(i * desc.heads + h) * desc.value_dim];
      const bool has_carry = real_part(carried) != -std::numeric_limits<double>::infinity();
      std::vector<Scalar> scores;
      double top = has_carry ? real_part(carried) : -std::numeric_limits<double>::infinity();
      for (const std::int64_t j : keys) {
        scores.push_back(rows.score(i, j, h));
        top = std::max(top, real_part(scores.back()));
      }
      const Scalar carried_weight = has_carry ? Scalar(exp(carried - top)) : Scalar(0);
      Scalar sum = carried_weight;
      for (std::int64_t e = 0; e < desc.value_dim; ++e) result[e] *= carried_weight;
      for (std::size_t n = 0; n < keys.size(); ++n) {
        const Scalar weight = exp(scores[n] - top);
        sum += weight;
        for (std::int64_t e = 0; e < desc.value_dim; ++e) result[e] += weight * rows.value(keys[n], h)[e];
      }
      for (std::int64_t e = 0; e < desc.value_dim; ++e) result[e] /= sum;
      carried = top + log(sum);
    }
}

// Folds the sink [H] (empty: none) into out and lse, as finish_forward does.
template <class Scalar>
void attention_finish(const AttentionDesc& desc, std::span<const Scalar> sink, std::span<Scalar> out,
                      std::span<Scalar> lse) {
  using std::exp, std::log;
  if (sink.empty()) return;
  for (std::size_t row = 0; row < lse.size(); ++row) {
    const Scalar logit = sink[row % static_cast<std::size_t>(desc.heads)];
    const double top = std::max(real_part(lse[row]), real_part(logit));
    const bool seen = real_part(lse[row]) != -std::numeric_limits<double>::infinity();
    const Scalar weight = seen ? Scalar(exp(lse[row] - top)) : Scalar(0);
    const Scalar sum = weight + exp(logit - top);
    for (std::int64_t e = 0; e < desc.value_dim; ++e) out[row * desc.value_dim + e] *= weight / sum;
    lse[row] = top + log(sum);
  }
}

// Row-major gradients that attention_backward adds to.
struct AttentionGradients {
  std::span<double> dq, dk, dv;
};

// lse and delta [Tq, H] as AttentionBackward has them; dout [Tq, H, Dv].
void attention_backward(const AttentionRows<double>& rows, std::span<const double> dout, std::span<const double> lse,
                        std::span<const double> delta, const AttentionGradients& gradients);

}  // namespace longspan::reference
