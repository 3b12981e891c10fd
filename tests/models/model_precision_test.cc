// A bf16 model is as close to the exact one as bf16 storage allows: the reference with every value that a model stores,
// and its derivative, rounded to bf16 gives the measure.
#include <gtest/gtest.h>

#include <complex>

#include "tests/models/model_runs.h"

namespace longspan::test {
namespace {

double rounded(double x) {
  return static_cast<float>(bf16(static_cast<float>(x)));
}

struct StoreBf16 {
  double operator()(double x) const { return rounded(x); }
  std::complex<double> operator()(const std::complex<double>& x) const {
    return {rounded(x.real()), rounded(x.imag() / kComplexStep) * kComplexStep};
  }
};

Weights<float> as_float(const Weights<double>& weights) {
  Weights<float> result;
  for (const auto& [name, values] : weights) result[name] = {values.begin(), values.end()};
  return result;
}

TEST(ModelInBf16, ErrsAtMostTwiceAsMuchAsAPlainEvaluation) {
  ModelConfig config = tiny_config();
  config.qk_norm = config.qkv_bias = true;
  config.kv_heads = 2;
  config.pattern[0].sink = true;
  const Weights<float> weights = test_weights(config, 9);
  const PackedTokens batch = packed_tokens({0, 7, 19}, config.vocab);
  const auto labels = static_cast<double>(count_labels(batch));
  const auto mean = [&](ReferenceResult result) {
    for (auto& [name, values] : result.gradients)
      for (double& value : values) value /= labels;
    return result;
  };
  const ReferenceResult exact = mean(reference_gradients(config, weights, batch));
  const ReferenceResult plain = mean(reference_gradients(config, weights, batch, StoreBf16{}));
  const double plain_error = relative_error(as_float(plain.gradients), exact.gradients);
  EXPECT_GT(plain_error, 1e-3) << "the measure itself must feel bf16";

  for (const int ranks : {1, 3}) {
    const RunResult run = run_model(config, weights, batch, {.ranks = ranks, .precision = DType::kBF16});
    EXPECT_LT(relative_error(run.gradients, exact.gradients), 2 * plain_error);
    EXPECT_LT(std::abs(run.loss / exact.loss - 1), 0x1p-8) << "the loss itself is fp32: less than one bf16 rounding";
    RecordProperty("loss error" + std::to_string(ranks), std::to_string(run.loss / exact.loss - 1));
    RecordProperty("error" + std::to_string(ranks), std::to_string(relative_error(run.gradients, exact.gradients)));
  }
  RecordProperty("plain", std::to_string(plain_error));
}

}  // namespace
}  // namespace longspan::test
