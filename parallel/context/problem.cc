#include "parallel/context/problem.h"

namespace longspan {

std::optional<std::string> why_invalid(const ContextProblem& problem, int ranks) {
  if (ranks < 1 || ranks > kMaxPlanRanks) return fmt::format("ranks is {}, not 1 … {}", ranks, kMaxPlanRanks);
  const std::vector<std::int64_t>& cu = problem.cu_seqlens;
  if (cu.empty()) return "cu_seqlens is empty; it starts with 0";
  if (cu.front() != 0) return fmt::format("cu_seqlens starts with {}, not 0", cu.front());
  for (std::size_t d = 1; d < cu.size(); ++d)
    if (cu[d] < cu[d - 1]) return fmt::format("cu_seqlens falls from {} to {} at document {}", cu[d - 1], cu[d], d - 1);
  if (cu.back() > kMaxPlanTokens) return fmt::format("{} tokens; at most {} are planned", cu.back(), kMaxPlanTokens);
  if (problem.kv_heads < 1) return fmt::format("kv_heads is {}, not positive", problem.kv_heads);
  if (problem.heads < 1 || problem.heads % problem.kv_heads != 0)
    return fmt::format("heads is {}, not a positive multiple of kv_heads {}", problem.heads, problem.kv_heads);
  const double tokens = static_cast<double>(cu.back());
  if (tokens * tokens * static_cast<double>(problem.heads) > 9e18)
    return fmt::format("{} tokens x {} heads make more pairs than can be counted", cu.back(), problem.heads);
  if (problem.window < 0) return fmt::format("window is {}, negative", problem.window);
  if (problem.window > 0 && !problem.causal) return fmt::format("window {} needs causal attention", problem.window);
  return std::nullopt;
}

std::string mask_text(const ContextProblem& problem) {
  if (!problem.causal) return "full mask";
  return problem.window > 0 ? fmt::format("causal, window {}", problem.window) : "causal";
}

}  // namespace longspan
