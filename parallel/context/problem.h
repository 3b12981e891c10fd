// What a context problem must satisfy before anything is planned or proved for it.
#pragma once

#include <optional>
#include <string>

#include "parallel/context/context_plan.h"

namespace longspan {

// Longest batch that is planned; pairs of tokens of it still fit an int64.
inline constexpr std::int64_t kMaxPlanTokens = std::int64_t{1} << 31;
inline constexpr int kMaxPlanRanks = 4096;

// nullopt: sound. Otherwise one sentence that names the field and the constraint it breaks.
std::optional<std::string> why_invalid(const ContextProblem& problem, int ranks);

// "full mask", "causal", "causal, window 256".
std::string mask_text(const ContextProblem& problem);

}  // namespace longspan
