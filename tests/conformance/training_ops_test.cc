// Every implementation of the matrix product, the head's loss and the optimiser's operators.
#include <algorithm>

#include "tests/conformance/conformance.h"

namespace longspan::testing {
namespace {

std::string describe(Layout layout) {
  return layout == Layout::kPlain ? "" : "^T";
}

struct Product {
  std::int64_t m, n, k;
};

std::vector<Case<Matmul>> matmul_cases(const std::vector<Product>& sizes) {
  std::vector<Case<Matmul>> cases;
  for (const auto [m, n, k] : sizes)
    for (const Layout a : {Layout::kPlain, Layout::kTransposed})
      for (const Layout b : {Layout::kPlain, Layout::kTransposed})
        for (const WriteMode mode : {WriteMode::kOverwrite, WriteMode::kAccumulate})
          for (const bool has_bias : {false, true})
            cases.push_back(
                {fmt::format("a{} . b{}: {} x {} x {}{}{}", describe(a), describe(b), m, n, k,
                             mode == WriteMode::kAccumulate ? " +=" : "", has_bias ? " + bias" : ""),
                 [=](OperandSet& o) {
                   using Shape = OperandSet::Shape;
                   const OperandSet::Gaps gaps{.row = k % 3, .outer = 0};
                   Matmul args;
                   args.a = o.input(a == Layout::kPlain ? Shape{m, k} : Shape{k, m}, 1, gaps);
                   args.b = o.input(b == Layout::kPlain ? Shape{k, n} : Shape{n, k}, 1, gaps);
                   args.c = mode == WriteMode::kOverwrite ? o.output({m, n}, gaps) : o.updated({m, n}, 1, gaps);
                   if (has_bias) args.bias = o.input({n});
                   args.a_layout = a;
                   args.b_layout = b;
                   args.mode = mode;
                   return args;
                 }});
  return cases;
}

TEST(Conformance, Matmul) {
  check_operator<Matmul>(matmul_cases({{1, 1, 1},
                                       {1, 17, 5},
                                       {13, 1, 7},
                                       {7, 11, 1},
                                       {16, 16, 16},
                                       {17, 31, 47},
                                       {33, 64, 65},
                                       {0, 3, 4},
                                       {3, 0, 4},
                                       {3, 4, 0}}),
                         {.fp32_bound = 1e-6, .threads = ThreadPromise::kSameBitsForSameThreads});
}

TEST(Conformance, MatmulWithResidual) {
  std::vector<Case<Matmul>> cases;
  for (const auto [m, n, k] : {Product{1, 1, 1}, {17, 31, 47}, {64, 65, 33}, {3, 4, 0}, {0, 3, 4}})
    for (const bool has_bias : {false, true})
      cases.push_back(
          {fmt::format("a . b^T + residual: {} x {} x {}{}", m, n, k, has_bias ? " + bias" : ""), [=](OperandSet& o) {
             Matmul args;
             args.a = o.input({m, k});
             args.b = o.input({n, k});
             args.c = o.output({m, n}, {.row = 3, .outer = 0});
             if (has_bias) args.bias = o.input({n});
             args.residual = o.input({m, n}, 2, {.row = k % 2, .outer = 0});
             args.b_layout = Layout::kTransposed;
             return args;
           }});
  check_operator<Matmul>(cases, {.fp32_bound = 1e-6, .threads = ThreadPromise::kSameBitsForSameThreads});
}

// Past the edge of the blocks that bf16 operands are converted in.
TEST(Conformance, MatmulOverSeveralBlocks) {
  std::vector<Case<Matmul>> cases = matmul_cases({{2, 1030, 3}, {1027, 2, 2}, {3, 2, 2051}});
  check_operator<Matmul>(cases, {.fp32_bound = 2e-6, .threads = ThreadPromise::kSameBitsForSameThreads});
}

// What a reader of "bf16" would write first: the linear layer's output, and its gradient, rounded to bf16. The loss is
// formed before any rounding: that of a bf16 model is held to the bound of fp32.
void plain_head_loss(const HeadLoss& args) {
  const std::int64_t tokens = args.hidden.size(0), width = args.hidden.size(1), vocab = args.weight.size(0);
  const auto rounded = [](float value) { return static_cast<float>(bf16(value)); };
  const std::vector<double> h = values_of(args.hidden), w = values_of(args.weight);
  std::vector<double> dhidden(h.size()), dweight(w.size());
  std::vector<float> logits(static_cast<std::size_t>(vocab));
  double* totals = args.totals.get<double>();
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto label = static_cast<std::int64_t>(get_value(args.labels, t));
    if (label < 0) continue;
    double exponentials = 0, label_logit = 0;
    for (std::int64_t j = 0; j < vocab; ++j) {
      double sum = 0;
      for (std::int64_t e = 0; e < width; ++e) sum += h[t * width + e] * w[j * width + e];
      exponentials += std::exp(sum);
      if (j == label) label_logit = sum;
      logits[j] = rounded(static_cast<float>(sum));
    }
    totals[0] += std::log(exponentials) - label_logit;
    totals[1] += 1;
    const float highest = *std::max_element(logits.begin(), logits.end());
    float total = 0;
    for (const float logit : logits) total += std::exp(logit - highest);
    for (std::int64_t j = 0; j < vocab; ++j) {
      const float p = std::exp(logits[j] - highest) / total;
      const float dlogit = rounded((p - (j == label ? 1.0f : 0.0f)) * args.grad_scale);
      for (std::int64_t e = 0; e < width; ++e) {
        dhidden[t * width + e] += dlogit * w[j * width + e];
        dweight[j * width + e] += dlogit * h[t * width + e];
      }
    }
  }
  if (!args.dhidden) return;
  set_values(args.dhidden, dhidden);
  for (std::int64_t i = 0; i < args.dweight.numel(); ++i)
    set_value(args.dweight, i, get_value(args.dweight, i) + dweight[i]);
}

TEST(Conformance, HeadLoss) {
  struct Size {
    std::int64_t tokens, width, vocab, chunk;
  };
  std::vector<Case<HeadLoss>> cases;
  for (const Size s : {Size{1, 1, 2, 1},
                       {1, 8, 1, 4},
                       {7, 16, 13, 3},
                       {16, 5, 31, 16},
                       {33, 24, 257, 8},
                       {3, 4, 13001, 2},
                       {0, 4, 5, 2}})
    for (const bool with_gradients : {false, true})
      cases.push_back({fmt::format("{} tokens x {}, vocab {}, chunks of {}{}", s.tokens, s.width, s.vocab, s.chunk,
                                   with_gradients ? "" : ", loss only"),
                       [=](OperandSet& o) {
                         HeadLoss args{.hidden = o.input({s.tokens, s.width}, 1),
                                       .weight = o.input({s.vocab, s.width}, 0.5),
                                       .labels = o.indices(s.tokens, s.vocab),
                                       .grad_scale = 0.125f,
                                       .dhidden = {},
                                       .dweight = {},
                                       .totals = o.updated_f64({0.75, 3}),
                                       .chunk_tokens = s.chunk};
                         for (std::int64_t t = s.tokens % 2; t < s.tokens; t += 3) set_value(args.labels, t, -1);
                         if (with_gradients) {
                           args.dhidden = o.output({s.tokens, s.width});
                           args.dweight = o.updated_f32({s.vocab, s.width}, 0.1);
                         }
                         return args;
                       }});
  check_operator<HeadLoss>(
      cases, {.fp32_bound = 2e-6, .threads = ThreadPromise::kSameBitsForSameThreads, .plain = plain_head_loss});
}

TEST(Conformance, SumOfSquares) {
  std::vector<Case<SumOfSquares>> cases;
  for (const std::int64_t count : {0, 1, 7, 8, 9, 16384, 16385, 100003})
    cases.push_back({fmt::format("{} elements", count), [=](OperandSet& o) {
                       return SumOfSquares{o.input_f32({count}, 1e3), o.updated_f64({2.5})};
                     }});
  cases.push_back({"values whose squares overflow fp32", [](OperandSet& o) {
                     return SumOfSquares{o.input_f32({1000}, 1e25), o.updated_f64({2.5})};
                   }});
  // The longest chain of additions: half a block of 16384, where vectors have one lane.
  check_operator<SumOfSquares>(cases, {.fp32_bound = 8192 * 0x1p-53, .dtypes = {DType::kF32}});
}

TEST(Conformance, AdamW) {
  std::vector<Case<AdamW>> cases;
  for (const std::int64_t count : {0, 1, 7, 8, 17, 16385})
    for (const std::int64_t step : {1, 1000})
      cases.push_back({fmt::format("{} elements, step {}", count, step), [=](OperandSet& o) {
                         AdamW args{.weight = o.updated_f32({count}),
                                    .grad = o.input_f32({count}, 0.1),
                                    .m = o.updated_f32({count}, 0.1),
                                    .v = o.updated_f32({count}, 0.0),
                                    .compute_copy = o.output({count}),
                                    .lr = 0.01f,
                                    .weight_decay = 0.1f,
                                    .grad_scale = 0.5f,
                                    .step = step};
                         if (count % 2 == 0) {
                           args.copy_rounding = CopyRounding::kStochastic;
                           args.rounding_seed = 17;
                         }
                         const auto v = random_normal(count, 99, 0.1);
                         for (std::int64_t i = 0; i < count; ++i) set_value(args.v, i, v[i] * v[i]);
                         return args;
                       }});
  check_operator<AdamW>(cases, {.fp32_bound = 1e-6});
}

}  // namespace
}  // namespace longspan::testing
