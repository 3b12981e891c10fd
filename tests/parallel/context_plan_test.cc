// Planners: what they plan is right by two proofs, balanced as their papers say, and no larger than need be.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "parallel/context/buffers.h"
#include "parallel/context/plan_report.h"
#include "parallel/context/validator.h"
#include "tests/parallel/context_cases.h"

namespace longspan {
namespace {

using context_cases::describe;
using context_cases::small_problems;

void expect_right(const ContextPlan& plan) {
  const auto fault = find_fault(plan);
  EXPECT_FALSE(fault) << *fault;
  for (const PlanDirection* direction : {&plan.forward, &plan.backward}) {
    const std::vector<int> errors = context_cases::coverage_errors(plan, *direction);
    EXPECT_TRUE(std::all_of(errors.begin(), errors.end(), [](int error) { return error == 0; }));
  }
}

TEST(ContextPlan, CoversEveryVisiblePairOnce) {
  for (const ContextPlanner* planner : context_planners())
    for (const ContextProblem& problem : small_problems())
      for (int ranks = 1; ranks <= 8; ++ranks) {
        SCOPED_TRACE(describe(planner->name(), problem, ranks));
        if (context_cases::refuses(*planner, problem, ranks)) continue;
        expect_right(planner->plan(problem, ranks));
        if (testing::Test::HasFailure()) return;
      }
}

TEST(ContextPlan, CoversRandomBatches) {
  std::mt19937 random(20240607);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  for (int round = 0; round < 150; ++round) {
    ContextProblem problem;
    problem.cu_seqlens = {0};
    for (int documents = draw(1, 6); documents > 0; --documents)
      problem.cu_seqlens.push_back(problem.cu_seqlens.back() + (draw(0, 3) == 0 ? draw(0, 2) : draw(0, 25)));
    problem.kv_heads = draw(1, 2);
    problem.heads = problem.kv_heads * draw(1, 2);
    problem.causal = draw(0, 3) > 0;
    problem.window = problem.causal ? std::max(0, draw(-20, 30)) : 0;
    for (const ContextPlanner* planner : context_planners()) {
      const int ranks = draw(1, 12);
      if (context_cases::refuses(*planner, problem, ranks)) continue;
      SCOPED_TRACE(fmt::format("round {}: {}", round, describe(planner->name(), problem, ranks)));
      expect_right(planner->plan(problem, ranks));
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(ContextPlan, LayoutDependsOnDocumentsAndRanksOnly) {
  for (const ContextPlanner* planner : context_planners()) {
    const ContextProblem causal{{0, 9, 30}, 4, 2, true, 0}, windowed{{0, 9, 30}, 2, 1, true, 3};
    EXPECT_EQ(planner->plan(causal, 4).home, planner->plan(windowed, 4).home);
    EXPECT_EQ(planner->plan(causal, 4).home, planner->home(causal, 4));
  }
}

TEST(ContextPlan, OneDocumentIsOneTaskForEachRankAndStep) {
  for (const std::string_view scheme : {"ring", "striped"}) {
    std::set<std::pair<int, int>> places;
    const ContextPlan plan = context_planner(scheme).plan({{0, 101}, 2, 1, true, 0}, 8);
    for (const PlanTask& task : plan.forward.tasks) EXPECT_TRUE(places.insert({task.rank, task.step}).second);
    EXPECT_EQ(plan.forward.num_steps(), 8);
  }
}

TEST(ContextPlan, StripedBalancesWhatRingDoesNot) {
  const ContextProblem problem{{0, 8192}, 8, 2, true, 0};
  const ContextPlan striped = make_context_plan("striped", problem, 4), ring = make_context_plan("ring", problem, 4);
  EXPECT_LE(balance_of_totals(striped, striped.forward), 1.02);
  EXPECT_LE(balance_of_steps(striped, striped.forward), 1.02);
  EXPECT_NEAR(balance_of_totals(ring, ring.forward), 1.75, 0.01);  // (2P - 1) / P
  std::int64_t work = 0;
  for (const std::int64_t share : work_of_ranks(ring, ring.forward)) work += share;
  EXPECT_EQ(work, 8 * 8192 * 8193 / 2);
}

TEST(ContextPlan, BalancedSchemesAreBalanced) {
  for (const std::string_view scheme : {"striped", "zigzag", "two_d"})
    for (const int ranks : {8, 64}) {
      const ContextPlan plan = make_context_plan(scheme, {{0, 1 << 17}, 8, 8, true, 0}, ranks);
      for (const PlanDirection* direction : {&plan.forward, &plan.backward}) {
        EXPECT_LE(balance_of_totals(plan, *direction), 1.02) << scheme << " over " << ranks;
        EXPECT_LE(balance_of_steps(plan, *direction), 1.02) << scheme << " over " << ranks;
      }
    }
}

TEST(ContextPlan, TwoDimensionsKeepTheHeavierTrafficWithinANode) {
  ContextSite site(16);
  site.ranks_per_node = 4;
  const auto stays = [](const PlanTransfer& t) { return t.from / 4 == t.to / 4; };
  // Many query heads to a key/value head: exchanging heads is heavier than hops of keys.
  const ContextPlan grouped = make_context_plan("two_d", {{0, 700, 2048}, 32, 4, true, 0}, site);
  // As many of both: hops are.
  const ContextPlan alike = make_context_plan("two_d", {{0, 700, 2048}, 4, 4, true, 0}, site);
  int exchanges = 0, hops = 0;
  for (const PlanTransfer& t : grouped.forward.transfers) {
    if (t.kind == TransferKind::kKeyValue && t.step > 0) continue;
    EXPECT_TRUE(stays(t)) << name_of(t.kind) << " from " << t.from << " to " << t.to;
    ++exchanges;
  }
  for (const PlanTransfer& t : alike.forward.transfers) {
    if (t.kind != TransferKind::kKeyValue || t.step == 0) continue;
    EXPECT_TRUE(stays(t)) << "step " << t.step << " from " << t.from << " to " << t.to;
    ++hops;
  }
  EXPECT_GT(exchanges, 0);
  EXPECT_GT(hops, 0);
}

TEST(ContextPlan, RanksOfARingDifferByOneTokenAtMost) {
  for (int ranks = 1; ranks <= 16; ++ranks) {
    const ContextPlan plan = context_planner("ring").plan({{0, 37}, 1, 1, true, 0}, ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_GE(plan.tokens_of(rank), 37 / ranks);
      EXPECT_LE(plan.tokens_of(rank), (37 + ranks - 1) / ranks);
    }
  }
}

TEST(ContextPlan, NothingTravelsThatNobodyNeeds) {
  // Documents that end where shards end.
  const ContextPlan apart = make_context_plan("ring", {{0, 8, 16, 24, 32}, 2, 1, true, 0}, 4);
  EXPECT_TRUE(apart.forward.transfers.empty());
  EXPECT_TRUE(apart.backward.transfers.empty());
  // A window of 3 reaches two tokens into the neighbour, and no further.
  const ContextPlan window = make_context_plan("ring", {{0, 32}, 2, 1, true, 3}, 4);
  ASSERT_EQ(window.forward.transfers.size(), 3u);
  for (const PlanTransfer& transfer : window.forward.transfers) {
    EXPECT_EQ(transfer.range, (TokenRange{transfer.from, 6, 8}));
    EXPECT_EQ(transfer.to, transfer.from + 1);
  }
  // Under a full mask over documents of two shards, blocks do not travel through ranks of other documents.
  const ContextPlan full = make_context_plan("ring", {{0, 16, 32, 48}, 2, 1, false, 0}, 6);
  EXPECT_EQ(full.forward.transfers.size(), 6u);
  EXPECT_EQ(full.backward.transfers.size(), 12u);
}

TEST(ContextPlan, BytesAreCountedByKind) {
  const ContextPlan plan = make_context_plan("striped", {{0, 64}, 4, 2, false, 0}, 4);
  const AttentionDesc desc{.dtype = DType::kBF16, .heads = 4, .kv_heads = 2, .head_dim = 8, .value_dim = 16};
  for (const std::int64_t bytes : bytes_sent_by_ranks(plan, plan.forward, desc))
    EXPECT_EQ(bytes, 3 * 16 * 2 * (8 + 16) * 2);
  for (const std::int64_t bytes : bytes_sent_by_ranks(plan, plan.backward, desc))
    EXPECT_EQ(bytes, 3 * 16 * 2 * (8 + 16) * (2 + 4));
}

TEST(ContextPlan, RingHoldsTwoBlocksAndThreeOfGradients) {
  const AttentionDesc desc{.dtype = DType::kBF16, .heads = 4, .kv_heads = 2, .head_dim = 16, .value_dim = 32};
  for (const std::string_view scheme : {"ring", "striped"}) {
    const ContextPlan plan = make_context_plan(scheme, {{0, 64}, 4, 2, false, 0}, 8);
    const std::int64_t block = 8 * 2 * (16 + 32);  // tokens x kv heads x both sizes
    for (const PeakBuffers& forward : peak_buffers(plan.forward, 8, desc)) {
      EXPECT_EQ(forward.operand_bytes, 2 * block * 2);
      EXPECT_EQ(forward.result_bytes, 0);
    }
    for (const PeakBuffers& backward : peak_buffers(plan.backward, 8, desc)) {
      EXPECT_EQ(backward.operand_bytes, 2 * block * 2);
      EXPECT_EQ(backward.result_bytes, 3 * block * 4);
    }
  }
}

TEST(ContextPlan, ReportIsShortForManyRanks) {
  const ContextProblem problem{{0, 4096}, 8, 2, true, 0};
  const AttentionDesc desc{.dtype = DType::kBF16, .heads = 8, .kv_heads = 2, .head_dim = 64, .value_dim = 64};
  const std::string few = describe_plan(make_context_plan("striped", problem, 4), desc);
  EXPECT_EQ(std::count(few.begin(), few.end(), '\n'), 1 + 1 + 4 + 2) << few;
  EXPECT_NE(few.find("striped over 4 ranks, 4096 tokens in 1 documents, causal"), std::string::npos) << few;
  EXPECT_NE(few.find("24.98 %"), std::string::npos) << few;   // the first rank's work
  EXPECT_NE(few.find("1.50 MiB"), std::string::npos) << few;  // 3 blocks of 1024 tokens of 512 bytes
  const std::string many = describe_plan(make_context_plan("ring", problem, 64), desc);
  EXPECT_EQ(std::count(many.begin(), many.end(), '\n'), 1 + 1 + 3 + 2) << many;
  EXPECT_NE(many.find("1.984 in all"), std::string::npos) << many;  // (2P - 1) / P, but for single tokens
}

TEST(ContextPlan, LargePlansAreProvedQuickly) {
  std::vector<std::int64_t> documents{0};
  std::mt19937 random(7);
  while (documents.size() < 500) documents.push_back(documents.back() + 100 + random() % 4000);
  documents.push_back(std::max<std::int64_t>(documents.back(), 1 << 20));
  const ContextPlan packed = make_context_plan("ring", {documents, 32, 8, true, 0}, 512);
  EXPECT_EQ(packed.problem.num_tokens(), documents.back());
  // Short documents are shared by few ranks there, the tokens still by all.
  const ContextPlan zigzag = make_context_plan("zigzag", {documents, 32, 8, true, 0}, 512);
  EXPECT_LT(zigzag.forward.tasks.size(), 1u << 20);
  for (int rank = 0; rank < 512; ++rank)
    EXPECT_NEAR(zigzag.tokens_of(rank), documents.back() / 512, documents.back() / 5120);
  const ContextPlan one = make_context_plan("striped", {{0, 1 << 20}, 32, 8, true, 0}, 128);
  EXPECT_EQ(one.forward.tasks.size(), 128u * 128u);
}

TEST(ContextPlan, RefusesWhatMakesNoSense) {
  const auto message = [](std::string_view scheme, const ContextProblem& problem, int ranks) {
    try {
      make_context_plan(scheme, problem, ranks);
    } catch (const Error& error) {
      return fmt::format("{}: {}", static_cast<int>(error.kind()), error.what());
    }
    return std::string("no error");
  };
  const auto expect_usage = [&](const ContextProblem& problem, int ranks, std::string_view words) {
    const std::string text = message("ring", problem, ranks);
    EXPECT_EQ(text.substr(0, 2), "0:") << text;
    EXPECT_NE(text.find(words), std::string::npos) << text;
  };
  expect_usage({{}, 1, 1, true, 0}, 2, "cu_seqlens is empty");
  expect_usage({{1, 4}, 1, 1, true, 0}, 2, "starts with 1");
  expect_usage({{0, 4, 3}, 1, 1, true, 0}, 2, "falls from 4 to 3 at document 1");
  expect_usage({{0, 4}, 3, 2, true, 0}, 2, "multiple of kv_heads");
  expect_usage({{0, 4}, 0, 1, true, 0}, 2, "heads is 0");
  expect_usage({{0, 4}, 1, 1, true, -1}, 2, "window is -1");
  expect_usage({{0, 4}, 1, 1, false, 2}, 2, "window 2 needs causal");
  expect_usage({{0, 4}, 1, 1, true, 0}, 0, "ranks is 0");
  expect_usage({{0, std::int64_t{1} << 40}, 1, 1, true, 0}, 2, "at most");
  EXPECT_NE(message("spiral", {{0, 4}, 1, 1, true, 0}, 2).find("there are striped, zigzag, ring"), std::string::npos);
  std::vector<std::int64_t> many{0};
  for (int d = 0; d < 500; ++d) many.push_back(many.back() + 2000);
  EXPECT_NE(message("striped", {many, 1, 1, true, 0}, 512).find("use ring, zigzag in place of striped"),
            std::string::npos);
}

TEST(ContextPlan, HashIsStableAndTellsPlansApart) {
  const ContextProblem problem{{0, 7, 7, 30}, 4, 2, true, 5};
  const ContextPlan plan = make_context_plan("striped", problem, 3);
  EXPECT_EQ(hash_of(plan), hash_of(make_context_plan("striped", problem, 3)));
  std::set<std::uint64_t> hashes{hash_of(plan), hash_of(make_context_plan("ring", problem, 3)),
                                 hash_of(make_context_plan("striped", problem, 4))};
  ContextPlan other = plan;
  other.forward.tasks.back().band.hi += 1;
  hashes.insert(hash_of(other));
  other = plan;
  std::swap(other.backward.transfers.front(), other.backward.transfers.back());
  hashes.insert(hash_of(other));
  EXPECT_EQ(hashes.size(), 5u);
}

}  // namespace
}  // namespace longspan
