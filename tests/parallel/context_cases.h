// Small packed batches that the context tests share, and an oracle for what a plan computes: every pair of tokens,
// counted one by one.
#pragma once

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "parallel/context/planner.h"

namespace longspan::context_cases {

inline std::string describe(std::string_view scheme, const ContextProblem& problem, int ranks) {
  return fmt::format("{} over {} ranks, cu_seqlens [{}], heads {}/{}, {}, window {}", scheme, ranks,
                     fmt::join(problem.cu_seqlens, ", "), problem.heads, problem.kv_heads,
                     problem.causal ? "causal" : "full", problem.window);
}

// Whether a planner has a reason not to plan this; only two_d may have one for small batches, where ranks do not
// factor.
inline bool refuses(const ContextPlanner& planner, const ContextProblem& problem, int ranks) {
  const Refusal refusal = planner.why_unsupported(problem, ranks);
  EXPECT_TRUE(!refusal || planner.name() == "two_d") << *refusal;
  return refusal.has_value();
}

// Masks and heads for the given documents.
inline std::vector<ContextProblem> problems_of(const std::vector<std::int64_t>& cu_seqlens) {
  return {{cu_seqlens, 1, 1, true, 0}, {cu_seqlens, 2, 1, false, 0}, {cu_seqlens, 2, 2, true, 1},
          {cu_seqlens, 4, 2, true, 4}, {cu_seqlens, 1, 1, true, 11}, {cu_seqlens, 3, 1, true, 1000}};
}

// Nothing, one token, fewer tokens than ranks, primes, empty and one-token documents, one long document.
inline std::vector<ContextProblem> small_problems() {
  const std::vector<std::vector<std::int64_t>> batches = {{0},          {0, 0, 0},          {0, 1},
                                                          {0, 3},       {0, 1, 2, 3, 4, 5}, {0, 5, 5, 12},
                                                          {0, 7, 7, 8}, {0, 2, 19, 23},     {0, 13, 14, 14, 37},
                                                          {0, 40},      {0, 0, 31, 33, 48}, {0, 17, 34, 51}};
  std::vector<ContextProblem> problems;
  for (const auto& batch : batches)
    for (const ContextProblem& problem : problems_of(batch)) problems.push_back(problem);
  return problems;
}

inline std::vector<std::vector<std::int64_t>> tokens_by_rank(const ContextPlan& plan) {
  std::vector<std::vector<std::int64_t>> tokens(plan.home.size());
  for (std::size_t rank = 0; rank < plan.home.size(); ++rank)
    for (const TokenRun& run : plan.home[rank])
      for (std::int64_t i = 0; i < run.count; ++i) tokens[rank].push_back(run.first + i * run.stride);
  return tokens;
}

inline bool sees(const ContextProblem& problem, std::int64_t query, std::int64_t key) {
  std::int64_t query_document = 0, key_document = 0;
  for (const std::int64_t bound : problem.cu_seqlens) query_document += bound <= query, key_document += bound <= key;
  if (query_document != key_document) return false;
  if (problem.causal && key > query) return false;
  return problem.window == 0 || key > query - problem.window;
}

// How often each (head, query, key) is computed, minus how often it should be: all zero in a right plan.
inline std::vector<int> coverage_errors(const ContextPlan& plan, const PlanDirection& direction) {
  const std::int64_t total = plan.problem.num_tokens();
  const auto tokens = tokens_by_rank(plan);
  std::vector<int> errors(static_cast<std::size_t>(plan.problem.heads * total * total));
  for (const PlanTask& task : direction.tasks)
    for (std::int64_t i = 0; i < task.q.count(); ++i)
      for (std::int64_t j = 0; j < task.kv.count(); ++j) {
        if (j - i < task.band.lo || j - i > task.band.hi) continue;
        const std::int64_t query = tokens[task.q.owner][task.q.begin + i];
        const std::int64_t key = tokens[task.kv.owner][task.kv.begin + j];
        for (std::int64_t h = task.head_begin; h < task.head_end; ++h) ++errors[(h * total + query) * total + key];
      }
  for (std::int64_t h = 0; h < plan.problem.heads; ++h)
    for (std::int64_t query = 0; query < total; ++query)
      for (std::int64_t key = 0; key < total; ++key)
        errors[(h * total + query) * total + key] -= sees(plan.problem, query, key);
  return errors;
}

}  // namespace longspan::context_cases
