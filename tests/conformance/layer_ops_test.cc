// Every implementation of the layers' operators, against the double-precision reference.
#include <array>

#include "tests/conformance/conformance.h"

namespace longspan::testing {
namespace {

using Gaps = TestTensor::Gaps;

// One, primes, both sides of every vector width and of a block of rows; no tokens at all.
struct Size {
  std::int64_t tokens, width;
};
const std::vector<Size> kSizes = {{0, 8},  {1, 1},  {1, 7},   {3, 8},    {5, 9},     {2, 15},
                                  {7, 16}, {4, 17}, {13, 31}, {37, 127}, {17, 1031}, {1100, 12}};

template <class Args>
std::vector<Case<Args>> cases_of_sizes(const std::function<Args(OperandSet&, Size, Gaps)>& build) {
  std::vector<Case<Args>> cases;
  for (const Size size : kSizes)
    for (const Gaps gaps : {Gaps{}, Gaps{.row = 3, .outer = 0}})
      cases.push_back({fmt::format("[{}, {}] with gaps of {}", size.tokens, size.width, gaps.row),
                       [=](OperandSet& operands) { return build(operands, size, gaps); }});
  return cases;
}

TEST(Conformance, EmbeddingForward) {
  check_operator<EmbeddingForward>(cases_of_sizes<EmbeddingForward>([](OperandSet& o, Size s, Gaps gaps) {
                                     return EmbeddingForward{o.indices(s.tokens, 29), o.input({29, s.width}, 1, gaps),
                                                             o.output({s.tokens, s.width}, gaps)};
                                   }),
                                   {.fp32_bound = 0});
}

TEST(Conformance, EmbeddingBackward) {
  check_operator<EmbeddingBackward>(cases_of_sizes<EmbeddingBackward>([](OperandSet& o, Size s, Gaps gaps) {
                                      return EmbeddingBackward{o.indices(s.tokens, 5),
                                                               o.input({s.tokens, s.width}, 1, gaps),
                                                               o.updated_f32({5, s.width})};
                                    }),
                                    {.fp32_bound = 1e-6});
}

// Tokens that fill several pieces of a sorted list, or a range of their own; most of one kind, or none alike.
TEST(Conformance, EmbeddingBackwardOfManyTokens) {
  struct Batch {
    std::int64_t tokens, vocab, distinct;
  };
  std::vector<Case<EmbeddingBackward>> cases;
  for (const Batch b : {Batch{700, 300, 300}, {1300, 300, 1}, {513, 20000, 20000}, {64, 3, 1}, {129, 3, 2}})
    cases.push_back({fmt::format("{} tokens, {} kinds of {}", b.tokens, b.distinct, b.vocab), [=](OperandSet& o) {
                       return EmbeddingBackward{o.indices(b.tokens, b.distinct), o.input({b.tokens, 9}),
                                                o.updated_f32({b.vocab, 9})};
                     }});
  check_operator<EmbeddingBackward>(cases, {.fp32_bound = 1e-6});
}

TEST(Conformance, RmsNormForward) {
  auto cases = cases_of_sizes<RmsNormForward>([](OperandSet& o, Size s, Gaps gaps) {
    return RmsNormForward{.x = o.input({s.tokens, s.width}, 3, gaps),
                          .weight = o.input({s.width}),
                          .y = o.output({s.tokens, s.width}, gaps),
                          .rstd = o.output_f32({s.tokens})};
  });
  cases.push_back({"heads that are slices", [](OperandSet& o) {
                     const Gaps gaps{.row = 0, .outer = 4 * 24};
                     return RmsNormForward{.x = o.input({11, 3, 24}, 1, gaps),
                                           .weight = o.input({24}),
                                           .y = o.output({11, 3, 24}, gaps),
                                           .rstd = o.output_f32({11, 3})};
                   }});
  cases.push_back({"in place, statistics not kept", [](OperandSet& o) {
                     const Tensor x = o.updated({9, 20});
                     return RmsNormForward{.x = x, .weight = o.input({20}), .y = x};
                   }});
  cases.push_back(
      {"a row of zeros", [](OperandSet& o) {
         return RmsNormForward{
             .x = o.input({4, 20}, 0), .weight = o.input({20}), .y = o.output({4, 20}), .rstd = o.output_f32({4})};
       }});
  check_operator<RmsNormForward>(cases, {.fp32_bound = 1e-6});
}

// Wider than what a block keeps in registers. A CPU without vectors adds 9001 squares one after another, hence the
// bound.
TEST(Conformance, RmsNormForwardOfWideRows) {
  const Case<RmsNormForward> wide{
      "[3, 9001]", [](OperandSet& o) {
        return RmsNormForward{
            .x = o.input({3, 9001}), .weight = o.input({9001}), .y = o.output({3, 9001}), .rstd = o.output_f32({3})};
      }};
  check_operator<RmsNormForward>({wide}, {.fp32_bound = 4e-6});
}

TEST(Conformance, RmsNormBackward) {
  auto cases = cases_of_sizes<RmsNormBackward>([](OperandSet& o, Size s, Gaps gaps) {
    return RmsNormBackward{.x = o.input({s.tokens, s.width}, 1, gaps),
                           .weight = o.input({s.width}),
                           .rstd = o.input_f32({s.tokens}),
                           .dy = o.input({s.tokens, s.width}, 1, gaps),
                           .dx = o.output({s.tokens, s.width}, gaps),
                           .dweight = o.updated_f32({s.width})};
  });
  cases.push_back({"heads that are slices, in place", [](OperandSet& o) {
                     const Gaps gaps{.row = 0, .outer = 4 * 24};
                     const Tensor dy = o.updated({11, 3, 24}, 1, gaps);
                     return RmsNormBackward{.x = o.input({11, 3, 24}, 1, gaps),
                                            .weight = o.input({24}),
                                            .rstd = o.input_f32({11, 3}),
                                            .dy = dy,
                                            .dx = dy,
                                            .dweight = o.updated_f32({24})};
                   }});
  cases.push_back({"rows wider than a block keeps, in place", [](OperandSet& o) {
                     const Tensor dy = o.updated({5, 9000});
                     return RmsNormBackward{.x = o.input({5, 9000}),
                                            .weight = o.input({9000}),
                                            .rstd = o.input_f32({5}),
                                            .dy = dy,
                                            .dx = dy,
                                            .dweight = o.updated_f32({9000})};
                   }});
  check_operator<RmsNormBackward>(cases, {.fp32_bound = 1e-6});
}

TEST(Conformance, RotaryTable) {
  static constexpr std::array<float, 4> kFrequencies = {1.0f, 0.1f, 1e-3f, 1e-5f};
  std::vector<Case<RotaryTable>> cases;
  for (const std::int64_t tokens : {0, 1, 7, 40})
    cases.push_back({fmt::format("{} tokens, positions into the millions", tokens), [=](OperandSet& o) {
                       return RotaryTable{o.indices(tokens, 1 << 21), kFrequencies, 1.25f, o.output_f32({tokens, 4}),
                                          o.output_f32({tokens, 4})};
                     }});
  check_operator<RotaryTable>(cases, {.fp32_bound = 1e-7, .dtypes = {DType::kF32}});
}

TEST(Conformance, Rotary) {
  std::vector<Case<Rotary>> cases;
  for (const RotaryDirection direction : {RotaryDirection::kForward, RotaryDirection::kBackward})
    for (const std::int64_t head_dim : {2, 14, 16, 18, 34, 128})
      for (const std::int64_t tokens : {0, 1, 13, 150})
        cases.push_back(
            {fmt::format("[{}, 3, {}] {}", tokens, head_dim, static_cast<int>(direction)), [=](OperandSet& o) {
               return Rotary{o.updated({tokens, 3, head_dim}, 1, {.row = 2, .outer = 5}),
                             o.input_f32({tokens, head_dim / 2}), o.input_f32({tokens, head_dim / 2}), direction};
             }});
  check_operator<Rotary>(cases, {.fp32_bound = 1e-6});
}

TEST(Conformance, SwigluForward) {
  auto cases = cases_of_sizes<SwigluForward>([](OperandSet& o, Size s, Gaps gaps) {
    return SwigluForward{o.input({s.tokens, s.width}, 2, gaps), o.input({s.tokens, s.width}, 1, gaps),
                         o.output({s.tokens, s.width}, gaps)};
  });
  cases.push_back({"gates far out", [](OperandSet& o) {
                     return SwigluForward{o.input({5, 33}, 200), o.input({5, 33}), o.output({5, 33})};
                   }});
  check_operator<SwigluForward>(cases, {.fp32_bound = 1e-6});
}

TEST(Conformance, SwigluBackward) {
  auto cases = cases_of_sizes<SwigluBackward>([](OperandSet& o, Size s, Gaps gaps) {
    return SwigluBackward{o.input({s.tokens, s.width}, 2, gaps), o.input({s.tokens, s.width}, 1, gaps),
                          o.input({s.tokens, s.width}, 1, gaps), o.output({s.tokens, s.width}, gaps),
                          o.output({s.tokens, s.width}, gaps)};
  });
  cases.push_back({"in place, gates far out", [](OperandSet& o) {
                     const Tensor gate = o.updated({5, 33}, 200), up = o.updated({5, 33});
                     return SwigluBackward{gate, up, o.input({5, 33}), gate, up};
                   }});
  check_operator<SwigluBackward>(cases, {.fp32_bound = 1e-6});
}

TEST(Conformance, Add) {
  auto cases = cases_of_sizes<Add>([](OperandSet& o, Size s, Gaps gaps) {
    return Add{o.input({s.tokens, s.width}, 1, gaps), o.input({s.tokens, s.width}),
               o.output({s.tokens, s.width}, gaps)};
  });
  cases.push_back({"in place, one long row", [](OperandSet& o) {
                     const Tensor a = o.updated({70001});
                     return Add{a, o.input({70001}), a};
                   }});
  check_operator<Add>(cases, {.fp32_bound = 1e-7});
}

TEST(Conformance, Cast) {
  const auto same = [](OperandSet& o, Size s, Gaps gaps) {
    return Cast{o.input({s.tokens, s.width}, 1, gaps), o.output({s.tokens, s.width})};
  };
  const auto widen = [](OperandSet& o, Size s, Gaps gaps) {
    return Cast{o.input({s.tokens, s.width}, 1, gaps), o.output_f32({s.tokens, s.width})};
  };
  const auto narrow = [](OperandSet& o, Size s, Gaps gaps) {
    return Cast{o.input_f32({s.tokens, s.width}), o.output({s.tokens, s.width}, gaps)};
  };
  check_operator<Cast>(cases_of_sizes<Cast>(same), {.fp32_bound = 0});
  check_operator<Cast>(cases_of_sizes<Cast>(widen), {.fp32_bound = 0});
  check_operator<Cast>(cases_of_sizes<Cast>(narrow), {.fp32_bound = 0});
}

TEST(Conformance, AddRowSum) {
  check_operator<AddRowSum>(cases_of_sizes<AddRowSum>([](OperandSet& o, Size s, Gaps gaps) {
                              return AddRowSum{o.input({s.tokens, s.width}, 1, gaps), o.updated_f32({s.width})};
                            }),
                            {.fp32_bound = 1e-6});
}

TEST(Conformance, FillZero) {
  auto cases = cases_of_sizes<FillZero>([](OperandSet& o, Size s, Gaps gaps) {
    return FillZero{o.output({s.tokens, s.width}, gaps)};
  });
  cases.push_back({"[5, 3, 7] with gaps", [](OperandSet& o) {
                     return FillZero{o.output({5, 3, 7}, {.row = 2, .outer = 9})};
                   }});
  check_operator<FillZero>(cases, {.fp32_bound = 0});
}

// One number a row, rows of a warp's chunks and more, gaps.
const std::vector<std::int64_t> kCodedWidths = {1, 7, 8, 64, 129, 300};

TEST(Conformance, EncodeRows) {
  std::vector<Case<EncodeRows>> cases;
  for (const std::int64_t width : kCodedWidths)
    for (const std::int64_t tokens : {0, 1, 13})
      cases.push_back({fmt::format("[{}, 3, {}]", tokens, width), [=](OperandSet& o) {
                         const Tensor values = o.input({tokens, 3, width}, 2, {.row = width % 5, .outer = 0});
                         return EncodeRows{values, o.codes({tokens, 3, width}), o.output_f32({tokens, 3})};
                       }});
  cases.push_back({"rows of zeros, and with numbers that are not finite", [](OperandSet& o) {
                     const Tensor values = o.input({5, 1, 9}, 1);
                     for (int e = 0; e < 9; ++e) set_value(values, e, 0);
                     set_value(values, 9 + 3, std::nan(""));
                     set_value(values, 18 + 8, std::numeric_limits<double>::infinity());
                     set_value(values, 27, -std::numeric_limits<double>::infinity());
                     return EncodeRows{values, o.codes({5, 1, 9}), o.output_f32({5, 1})};
                   }});
  // Codes are exact: of the fp32 quotient, rounded to even.
  check_operator<EncodeRows>(cases, {.fp32_bound = 1e-7});
}

TEST(Conformance, DecodeRows) {
  std::vector<Case<DecodeRows>> cases;
  for (const std::int64_t width : kCodedWidths)
    for (const std::int64_t tokens : {0, 1, 13})
      cases.push_back({fmt::format("[{}, 3, {}]", tokens, width), [=](OperandSet& o) {
                         const Tensor codes = o.codes({tokens, 3, width});
                         for (std::int64_t i = 0; i < codes.numel(); ++i)
                           set_value(codes, i, static_cast<double>(i * 37 % 255 - 127));
                         return DecodeRows{codes, o.input_f32({tokens, 3}, 0.1),
                                           o.output({tokens, 3, width}, {.row = width % 5, .outer = 0})};
                       }});
  check_operator<DecodeRows>(cases, {.fp32_bound = 1e-7});
}

}  // namespace
}  // namespace longspan::testing
