// Every golden softmax case, at every number of ranks, scheme and precision, and proof that a wrong result fails.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "parallel/context/planner.h"
#include "tests/trainer/check/write_case.h"
#include "trainer/check/check_runner.h"

namespace longspan {
namespace {

const int kRanks[] = {1, 2, 3, 4, 5, 8};
constexpr const char* kNoCases = "none";

// two_d needs ranks that factor.
bool refused(std::string_view scheme, const ContextProblem& problem, int ranks) {
  return scheme == "two_d" && context_planner(scheme).why_unsupported(problem, ranks);
}

// Names of the softmax cases, or one placeholder that the tests skip.
std::vector<std::string> softmax_cases() {
  std::vector<std::string> names;
  if (std::filesystem::is_directory(LONGSPAN_CASES)) {
    for (const auto& entry : std::filesystem::directory_iterator(LONGSPAN_CASES)) {
      if (entry.path().filename().string().starts_with("softmax-")) names.push_back(entry.path().stem());
    }
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) names.push_back(kNoCases);
  return names;
}

AttentionResult run_on_threads(const AttentionCase& c, int ranks, const CheckOptions& options) {
  AttentionResult result;
  run_local_ranks(ranks, {}, [&](Communicator& comm) {
    AttentionResult mine = run_attention_case(comm, RankDevice(), c, options);
    if (comm.rank() == 0) result = std::move(mine);
  });
  return result;
}

class GoldenCases : public testing::TestWithParam<std::string> {
 protected:
  void check(DType precision) {
    if (GetParam() == kNoCases) GTEST_SKIP() << "there are no softmax cases in " LONGSPAN_CASES;
    const AttentionCase c = read_attention_case(std::string(LONGSPAN_CASES) + "/" + GetParam() + ".h5");
    for (const std::string_view scheme : context_scheme_names()) {
      for (const int ranks : kRanks) {
        if (refused(scheme, c.problem, ranks)) continue;
        const auto verdicts = judge(c, precision, run_on_threads(c, ranks, {std::string(scheme), precision, 1}));
        EXPECT_GE(verdicts.size(), 5u);
        EXPECT_TRUE(all_pass(verdicts)) << scheme << ", " << ranks << " ranks\n" << table_of(verdicts);
      }
    }
  }
};

TEST_P(GoldenCases, PassInFp32) {
  check(DType::kF32);
}
TEST_P(GoldenCases, PassInBf16) {
  check(DType::kBF16);
}

INSTANTIATE_TEST_SUITE_P(Softmax, GoldenCases, testing::ValuesIn(softmax_cases()), [](const auto& info) {
  std::string name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-'; }, '_');
  return name;
});

// Where each tensor in turn is altered by twice its bound, that one and no other fails.
TEST(Judgement, OneAlteredTensorFailsAlone) {
  const AttentionCase c = diagonal_case(7);
  const AttentionResult whole = run_on_threads(c, 2, {});
  ASSERT_TRUE(all_pass(judge(c, DType::kF32, whole))) << table_of(judge(c, DType::kF32, whole));
  const std::pair<const char*, std::vector<float> AttentionResult::*> tensors[] = {{"out", &AttentionResult::out},
                                                                                   {"lse", &AttentionResult::lse},
                                                                                   {"dq", &AttentionResult::dq},
                                                                                   {"dk", &AttentionResult::dk},
                                                                                   {"dv", &AttentionResult::dv}};
  for (const auto& [name, tensor] : tensors) {
    AttentionResult altered = whole;
    double norm = 0;
    for (const float x : altered.*tensor) norm += double{x} * x;
    (altered.*tensor)[3] += static_cast<float>(1e-4 * std::max(1.0, std::sqrt(norm)));
    for (const TensorVerdict& verdict : judge(c, DType::kF32, altered)) {
      EXPECT_EQ(verdict.passes(), verdict.name != name) << name << " altered:\n" << verdict.name;
    }
  }
}

TEST(Judgement, Bf16BoundIsTwiceThePlainErrorAndCapped) {
  const AttentionCase c = diagonal_case(7);
  const AttentionResult plain = plain_bf16_attention(c);
  for (const TensorVerdict& verdict : judge(c, DType::kBF16, plain)) {
    EXPECT_LE(verdict.bound, 2e-2) << verdict.name;
    EXPECT_DOUBLE_EQ(verdict.bound, std::min(2e-2, 2 * verdict.deviation.relative)) << verdict.name;
  }
}

TEST(PlainBf16, StraysAsBf16DoesAndNoMore) {
  const AttentionCase c = diagonal_case(50);
  const Deviation out = deviation_of(plain_bf16_attention(c).out, c.out);
  EXPECT_GT(out.relative, 1e-4);  // half a unit in the last of 8 bits is 2e-3 at most
  EXPECT_LT(out.relative, 4e-3);
}

}  // namespace
}  // namespace longspan
