#include "parallel/context/proof.h"

namespace longspan {
namespace {

// The first rank that lists a token.
std::size_t owner_of(const Home& home, std::int64_t token) {
  for (std::size_t rank = 0; rank < home.size(); ++rank)
    for (const TokenRun& run : home[rank]) {
      const std::int64_t offset = token - run.first;
      if (offset >= 0 && offset % run.stride == 0 && offset / run.stride < run.count) return rank;
    }
  return home.size();
}

std::optional<std::string> find_bad_run(const Home& home, std::int64_t total) {
  for (std::size_t rank = 0; rank < home.size(); ++rank)
    for (const TokenRun& run : home[rank]) {
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

std::optional<std::string> find_home_fault(const Home& home, std::int64_t num_tokens) {
  if (std::optional<std::string> fault = find_bad_run(home, num_tokens)) return fault;
  std::vector<bool> owned(static_cast<std::size_t>(num_tokens));
  for (std::size_t rank = 0; rank < home.size(); ++rank)
    for (const TokenRun& run : home[rank])
      for (std::int64_t i = 0; i < run.count; ++i) {
        const std::int64_t token = run.first + i * run.stride;
        if (owned[token])
          return fmt::format("token {} is owned twice, by ranks {} and {}", token, owner_of(home, token), rank);
        owned[token] = true;
      }
  for (std::size_t token = 0; token < owned.size(); ++token)
    if (!owned[token]) return fmt::format("token {} is owned by no rank", token);
  return std::nullopt;
}

std::optional<std::string> find_ownership_fault(const ContextPlan& plan) {
  if (plan.home.size() != static_cast<std::size_t>(plan.ranks))
    return fmt::format("home lists {} ranks of {}", plan.home.size(), plan.ranks);
  return find_home_fault(plan.home, plan.problem.num_tokens());
}

}  // namespace longspan
