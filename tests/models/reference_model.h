// The model in the plainest way: scalar loops over one packed sequence, templated on the scalar, so that complex
// numbers give its derivatives (Squire & Trapp 1998: f'(x) = Im f(x + ih) / h, without cancellation).
#pragma once

#include <algorithm>
#include <complex>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/model_config.h"
#include "tests/models/reference_rope.h"

namespace longspan::test {

struct PackedTokens {
  std::vector<std::int64_t> cu_seqlens;
  std::vector<std::int32_t> tokens, labels;
};

template <class T>
using Weights = std::map<std::string, std::vector<T>>;

inline double real_part(double x) {
  return x;
}
inline double real_part(const std::complex<double>& x) {
  return x.real();
}

// store(x) is applied to everything that a model would keep in memory between operators.
template <class T, class Store>
class ReferenceModel {
 public:
  using Row = std::vector<T>;
  using Rows = std::vector<Row>;

  ReferenceModel(const ModelConfig& config, const Weights<T>& weights, Store store)
      : config_(config),
        weights_(weights),
        store_(store),
        rope_(reference_rope(static_cast<int>(config.head_dim), config.rope_theta, config.rope_scaling)) {}

  // One row of logits a token.
  Rows logits(const PackedTokens& batch) const {
    Rows x;
    const std::vector<T>& table = weights_.at("model.embed_tokens.weight");
    for (const std::int32_t token : batch.tokens)
      x.emplace_back(table.begin() + token * config_.hidden, table.begin() + (token + 1) * config_.hidden);
    for (std::int64_t l = 0; l < config_.layers; ++l) layer(l, batch.cu_seqlens, x);
    const std::vector<T>& head = weights_.at(config_.tie_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
    Rows result;
    for (const Row& row : x) result.push_back(multiply(head, norm(row, weights_.at("model.norm.weight"))));
    return result;
  }

  // The sum over labelled tokens of -log p(label).
  T loss(const PackedTokens& batch) const {
    const Rows all = logits(batch);
    T sum = 0;
    for (std::size_t t = 0; t < all.size(); ++t)
      if (batch.labels[t] >= 0) sum += log_sum_exp(all[t]) - all[t][static_cast<std::size_t>(batch.labels[t])];
    return sum;
  }

 private:
  static T log_sum_exp(const Row& x) {
    double highest = real_part(x[0]);
    for (const T& value : x) highest = std::max(highest, real_part(value));
    T sum = 0;
    for (const T& value : x) sum += std::exp(value - highest);
    return highest + std::log(sum);
  }

  Row stored(Row row) const {
    for (T& value : row) value = store_(value);
    return row;
  }

  static Row multiply(const std::vector<T>& matrix, const Row& x) {
    Row y(matrix.size() / x.size(), T(0));
    for (std::size_t r = 0; r < y.size(); ++r)
      for (std::size_t i = 0; i < x.size(); ++i) y[r] += matrix[r * x.size() + i] * x[i];
    return y;
  }

  Row norm(const Row& x, const std::vector<T>& gain) const {
    T squares = 0;
    for (const T& value : x) squares += value * value;
    const T root = std::sqrt(squares / static_cast<double>(x.size()) + config_.norm_eps);
    Row y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = store_(x[i] / root * gain[i]);
    return y;
  }

  // One projection of a layer, cut into heads; optional bias.
  Rows heads(const std::string& name, const Row& x) const {
    Row flat = multiply(weights_.at(name + ".weight"), x);
    if (config_.qkv_bias)
      for (std::size_t i = 0; i < flat.size(); ++i) flat[i] += weights_.at(name + ".bias")[i];
    flat = stored(flat);
    Rows result;
    const auto dim = static_cast<std::size_t>(config_.head_dim);
    for (std::size_t h = 0; h < flat.size() / dim; ++h)
      result.emplace_back(flat.begin() + static_cast<std::ptrdiff_t>(h * dim),
                          flat.begin() + static_cast<std::ptrdiff_t>((h + 1) * dim));
    return result;
  }

  Row rotate(const Row& x, std::int64_t position) const {
    Row y = x;
    const std::size_t half = x.size() / 2;
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * rope_.inverse[i];
      const double c = rope_.attention_factor * std::cos(angle), s = rope_.attention_factor * std::sin(angle);
      y[i] = store_(x[i] * c - x[i + half] * s);
      y[i + half] = store_(x[i + half] * c + x[i] * s);
    }
    return y;
  }

  // Attention of the query at place t of a document over its keys.
  Row attend(std::int64_t l, std::size_t head, std::int64_t t, const Row& q, const std::vector<Rows>& k,
             const std::vector<Rows>& v) const {
    const AttentionKind& kind = config_.attention_of(l);
    const double scale = kind.scale ? static_cast<double>(*kind.scale) : 1 / std::sqrt(double(config_.head_dim));
    const std::size_t kv_head = head / static_cast<std::size_t>(config_.heads / config_.kv_heads);
    Row scores;
    std::vector<std::size_t> seen;
    for (std::int64_t j = 0; j < static_cast<std::int64_t>(k.size()); ++j) {
      if ((kind.causal && j > t) || (kind.window > 0 && j <= t - kind.window)) continue;
      T score = 0;
      for (std::size_t d = 0; d < q.size(); ++d) score += q[d] * k[static_cast<std::size_t>(j)][kv_head][d];
      scores.push_back(score * scale);
      seen.push_back(static_cast<std::size_t>(j));
    }
    Row with_sink = scores;
    if (kind.sink) with_sink.push_back(weights_.at(prefix(l) + "self_attn.sinks")[head]);
    const T lse = log_sum_exp(with_sink);
    Row out(q.size(), T(0));
    for (std::size_t n = 0; n < seen.size(); ++n) {
      const T share = std::exp(scores[n] - lse);
      for (std::size_t d = 0; d < out.size(); ++d) out[d] += share * v[seen[n]][kv_head][d];
    }
    return stored(out);
  }

  static std::string prefix(std::int64_t l) { return "model.layers." + std::to_string(l) + "."; }

  void layer(std::int64_t l, const std::vector<std::int64_t>& cu_seqlens, Rows& x) const {
    for (std::size_t d = 0; d + 1 < cu_seqlens.size(); ++d) {
      std::vector<Rows> q, k, v;  // [place in the document][head][dim]
      for (std::int64_t t = cu_seqlens[d]; t < cu_seqlens[d + 1]; ++t) {
        const Row normed = norm(x[static_cast<std::size_t>(t)], weights_.at(prefix(l) + "input_layernorm.weight"));
        q.push_back(heads(prefix(l) + "self_attn.q_proj", normed));
        k.push_back(heads(prefix(l) + "self_attn.k_proj", normed));
        v.push_back(heads(prefix(l) + "self_attn.v_proj", normed));
        for (Row& row : q.back()) row = positioned(row, l, "q_norm", t - cu_seqlens[d]);
        for (Row& row : k.back()) row = positioned(row, l, "k_norm", t - cu_seqlens[d]);
      }
      for (std::size_t t = 0; t < q.size(); ++t) {
        Row attended;
        for (std::size_t h = 0; h < q[t].size(); ++h)
          for (const T& value : attend(l, h, static_cast<std::int64_t>(t), q[t][h], k, v)) attended.push_back(value);
        Row& row = x[static_cast<std::size_t>(cu_seqlens[d]) + t];
        add(row, stored(multiply(weights_.at(prefix(l) + "self_attn.o_proj.weight"), attended)));
        mlp(l, row);
      }
    }
  }

  Row positioned(const Row& x, std::int64_t l, const std::string& norm_name, std::int64_t position) const {
    if (!config_.qk_norm) return rotate(x, position);
    return rotate(norm(x, weights_.at(prefix(l) + "self_attn." + norm_name + ".weight")), position);
  }

  void mlp(std::int64_t l, Row& x) const {
    const Row normed = norm(x, weights_.at(prefix(l) + "post_attention_layernorm.weight"));
    const Row gate = stored(multiply(weights_.at(prefix(l) + "mlp.gate_proj.weight"), normed));
    const Row up = stored(multiply(weights_.at(prefix(l) + "mlp.up_proj.weight"), normed));
    Row product(gate.size());
    for (std::size_t i = 0; i < gate.size(); ++i) product[i] = store_(gate[i] / (1.0 + std::exp(-gate[i])) * up[i]);
    add(x, stored(multiply(weights_.at(prefix(l) + "mlp.down_proj.weight"), product)));
  }

  void add(Row& x, const Row& y) const {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = store_(x[i] + y[i]);
  }

  const ModelConfig& config_;
  const Weights<T>& weights_;
  Store store_;
  ReferenceRope rope_;
};

inline constexpr double kComplexStep = 1e-30;

struct KeepExact {
  template <class T>
  T operator()(const T& x) const {
    return x;
  }
};

// Loss and its derivative by every weight, one complex evaluation each.
struct ReferenceResult {
  double loss = 0;
  Weights<double> gradients;
};

template <class Store = KeepExact>
ReferenceResult reference_gradients(const ModelConfig& config, const Weights<float>& weights, const PackedTokens& batch,
                                    Store store = {}) {
  using Complex = std::complex<double>;
  Weights<Complex> point;
  for (const auto& [name, values] : weights)
    for (const float value : values) point[name].push_back(store(Complex(value)));
  const ReferenceModel<Complex, Store> model(config, point, store);
  ReferenceResult result;
  result.loss = model.loss(batch).real();
  for (auto& [name, values] : point)
    for (Complex& value : values) {
      value.imag(kComplexStep);
      result.gradients[name].push_back(model.loss(batch).imag() / kComplexStep);
      value.imag(0);
    }
  return result;
}

}  // namespace longspan::test
