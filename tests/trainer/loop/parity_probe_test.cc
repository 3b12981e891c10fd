// The parity probe: right plans are the same over ranks as on one, and a shard that attends only to itself is found,
// with the token that it harms most.
#include "trainer/loop/parity_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "parallel/context/planner.h"

namespace longspan {
namespace {

using ::testing::HasSubstr;

struct ProbeCase {
  AttentionKind kind;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> cu_seqlens;
  std::int64_t heads = 4, kv_heads = 2;
};

ContextProblem problem_of(const ProbeCase& c) {
  return {c.cu_seqlens, c.heads, c.kv_heads, c.kind.causal, c.kind.window};
}

ParityReport probe(const ProbeCase& c, const ContextPlan& plan) {
  const AttentionDesc desc{.dtype = c.dtype,
                           .heads = c.heads,
                           .kv_heads = c.kv_heads,
                           .head_dim = 16,
                           .value_dim = 16,
                           .scale = c.kind.scale.value_or(0.25f)};
  ParityReport report;
  run_local_ranks(plan.ranks, {.timeout_ms = 60'000}, [&](Communicator& comm) {
    const ParityReport mine =
        probe_parity({c.kind, desc, std::make_shared<const ContextPlan>(plan), 7, 1}, comm, RankDevice());
    if (comm.rank() == 0) report = mine;
    comm.barrier();
    EXPECT_EQ(mine.figures, report.figures);
    EXPECT_EQ(mine.fault, report.fault);
  });
  return report;
}

// What a peer framework's users meet: keys come, and nobody looks at them.
ContextPlan without_foreign_keys(ContextPlan plan) {
  for (PlanDirection* direction : {&plan.forward, &plan.backward}) {
    direction->transfers.clear();
    std::erase_if(direction->tasks, [](const PlanTask& task) { return task.q.owner != task.kv.owner; });
  }
  return plan;
}

std::vector<ProbeCase> cases() {
  const std::vector<std::int64_t> packed = {0, 1, 1, 30, 97}, one = {0, 64};
  return {
      {{}, DType::kF32, packed},
      {{.window = 24}, DType::kF32, packed},
      {{.window = 1}, DType::kF32, one},
      {{.causal = false, .sink = true}, DType::kF32, packed},
      {{.scale = 1.0f}, DType::kF32, one},
      {{}, DType::kF32, {0, 1, 2, 3, 4, 5}},
      {{}, DType::kF32, {0}},
      {{}, DType::kBF16, packed},
      {{.window = 24, .sink = true}, DType::kBF16, packed},
      {{.window = 1}, DType::kBF16, one},
  };
}

TEST(ParityProbe, PassesEverySchemeOverAnyNumberOfRanks) {
  for (const ProbeCase& c : cases())
    for (const std::string_view scheme : context_scheme_names())
      for (const int ranks : {1, 2, 3, 4}) {
        if (scheme == "two_d" && (ranks == 2 || ranks == 3)) continue;  // no product of two numbers
        SCOPED_TRACE(fmt::format("{} over {} ranks, {}", scheme, ranks, name_of(c.dtype)));
        const ParityReport report = probe(c, make_context_plan(scheme, problem_of(c), ranks));
        EXPECT_EQ(report.fault, "");
        EXPECT_THAT(report.figures, HasSubstr("softmax "));
        EXPECT_THAT(report.figures, HasSubstr(", dv "));
        EXPECT_EQ(report.figures.find("dsink") != std::string::npos, c.kind.sink);
      }
}

TEST(ParityProbe, FindsAShardThatAttendsOnlyToItself) {
  for (const DType dtype : {DType::kF32, DType::kBF16})
    for (const std::string_view scheme : {"ring", "striped", "zigzag", "all_gather"})
      for (const int ranks : {2, 4}) {
        SCOPED_TRACE(fmt::format("{} over {} ranks, {}", scheme, ranks, name_of(dtype)));
        const ProbeCase c{{.window = 24}, dtype, {0, 1, 1, 30, 97}};
        const ContextPlan right = make_context_plan(scheme, problem_of(c), ranks);
        const ParityReport report = probe(c, without_foreign_keys(right));
        EXPECT_THAT(report.fault, HasSubstr("softmax causal window 24 over"));
        EXPECT_THAT(report.fault, HasSubstr("out differs by"));
        EXPECT_THAT(report.fault, ::testing::ContainsRegex("worst is token [0-9]+ of document [23] \\(token [0-9]+ of "
                                                           "the batch\\), on rank [0-3], by "));
      }
}

// Contiguous over two ranks, token 8 alone must look across: one wrong token of sixteen, by name.
TEST(ParityProbe, NamesTheOneTokenThatIsWrong) {
  const ProbeCase c{{.window = 2}, DType::kF32, {0, 3, 16}};
  const ParityReport report = probe(c, without_foreign_keys(make_context_plan("ring", problem_of(c), 2)));
  EXPECT_THAT(report.fault, HasSubstr("worst is token 5 of document 1 (token 8 of the batch), on rank 1"));
}

// One backward task of many is missing, so that forward is right.
TEST(ParityProbe, FindsAGradientThatLacksAShare) {
  const ProbeCase c{{}, DType::kF32, {0, 64}};
  ContextPlan plan = make_context_plan("striped", problem_of(c), 4);
  PlanTask& task = *std::find_if(plan.backward.tasks.begin(), plan.backward.tasks.end(),
                                 [](const PlanTask& t) { return t.q.owner == 2 && t.kv.owner == 1; });
  task.q.end = task.q.begin + 1;
  const ParityReport report = probe(c, plan);
  EXPECT_THAT(report.fault, HasSubstr("dq differs by"));
  EXPECT_THAT(report.fault, HasSubstr("on rank 2"));
}

// A wrong token among thousands moves the whole tensor by less than bfloat16 does.
TEST(ParityProbe, FindsOneWrongTokenAmongThousandsInBf16) {
  const ProbeCase c{{.window = 2}, DType::kBF16, {0, 6000}, 1, 1};
  const ParityReport report = probe(c, without_foreign_keys(make_context_plan("ring", problem_of(c), 2)));
  EXPECT_THAT(report.fault, HasSubstr("out differs by 1."));
  EXPECT_THAT(report.fault, HasSubstr("e-02 of its size, where rounding makes 2e-02 at most; worst is token 3000"));
}

TEST(FirstDocuments, AreCutWhereTheTokensEnd) {
  using Bounds = std::vector<std::int64_t>;
  EXPECT_EQ(first_documents({0, 5, 5, 12}, 20), (Bounds{0, 5, 5, 12}));
  EXPECT_EQ(first_documents({0, 5, 5, 12}, 12), (Bounds{0, 5, 5, 12}));
  EXPECT_EQ(first_documents({0, 5, 5, 12, 30}, 7), (Bounds{0, 5, 5, 7}));
  EXPECT_EQ(first_documents({0, 5, 5, 12}, 5), (Bounds{0, 5}));
  EXPECT_EQ(first_documents({0, 30}, 7), (Bounds{0, 7}));
  EXPECT_EQ(first_documents({0}, 7), (Bounds{0}));
}

}  // namespace
}  // namespace longspan
