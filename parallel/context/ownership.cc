#include "parallel/context/proof.h"

namespace longspan {
namespace {

// The first rank that lists a token.
int owner_of(const ContextPlan& plan, std::int64_t token) {
  for (int rank = 0; rank < plan.ranks; ++rank)
    for (const TokenRun& run : plan.home[rank]) {
      const std::int64_t offset = token - run.first;
      if (offset >= 0 && offset % run.stride == 0 && offset / run.stride < run.count) return rank;
    }
  return -1;
}

std::optional<std::string> find_bad_run(const ContextPlan& plan) {
  const std::int64_t total = plan.problem.num_tokens();
  for (int rank = 0; rank < plan.ranks; ++rank)
    for (const TokenRun& run : plan.home[rank]) {
      if (run.count < 1 || run.stride < 1)
        return fmt::format("home of rank {}: a run of {} tokens at stride {}; both are positive", rank, run.count,
                           run.stride);
      if (run.first < 0 || run.first >= total || run.count - 1 > (total - 1 - run.first) / run.stride)
        return fmt::format("home of rank {}: {} tokens from {} at stride {} leave the batch of {} tokens", rank,
                           run.count, run.first, run.stride, total);
    }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> find_ownership_fault(const ContextPlan& plan) {
  if (plan.home.size() != static_cast<std::size_t>(plan.ranks))
    return fmt::format("home lists {} ranks of {}", plan.home.size(), plan.ranks);
  if (std::optional<std::string> fault = find_bad_run(plan)) return fault;
  std::vector<bool> owned(static_cast<std::size_t>(plan.problem.num_tokens()));
  for (int rank = 0; rank < plan.ranks; ++rank)
    for (const TokenRun& run : plan.home[rank])
      for (std::int64_t i = 0; i < run.count; ++i) {
        const std::int64_t token = run.first + i * run.stride;
        if (owned[token])
          return fmt::format("token {} is owned twice, by ranks {} and {}", token, owner_of(plan, token), rank);
        owned[token] = true;
      }
  for (std::size_t token = 0; token < owned.size(); ++token)
    if (!owned[token]) return fmt::format("token {} is owned by no rank", token);
  return std::nullopt;
}

}  // namespace longspan
