#include "parallel/pipeline/stage_balance.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/error.h"

namespace longspan {

std::vector<std::int64_t> balance_stages(std::span<const double> costs, int stages) {
  LS_CHECK(stages >= 1, "{} stages", stages);
  LS_REQUIRE(
      kUsage, costs.size() >= static_cast<std::size_t>(stages),
      "{} layers cannot be cut into {} pipeline stages; use at most {} (parallel.pipeline times parallel.chunks)",
      costs.size(), stages, costs.size());
  const std::size_t n = costs.size();
  std::vector<double> before(n + 1);  // cost of the first i
  for (std::size_t i = 0; i < n; ++i) {
    LS_CHECK(costs[i] >= 0, "layer {} costs {}", i, costs[i]);
    before[i + 1] = before[i] + costs[i];
  }
  // dearest[s][i]: of the best cut of the costs from i on into s parts.
  const auto parts = static_cast<std::size_t>(stages);
  std::vector<std::vector<double>> dearest(parts + 1,
                                           std::vector<double>(n + 1, std::numeric_limits<double>::infinity()));
  dearest[0][n] = 0;
  for (std::size_t s = 1; s <= parts; ++s)
    for (std::size_t i = 0; i + s <= n; ++i)
      for (std::size_t end = i + 1; end + s - 1 <= n; ++end)
        dearest[s][i] = std::min(dearest[s][i], std::max(before[end] - before[i], dearest[s - 1][end]));

  const double best = dearest[parts][0];
  std::vector<std::int64_t> begins{0};
  for (std::size_t s = parts; s > 1; --s) {
    const auto begin = static_cast<std::size_t>(begins.back());
    const double even = (before[n] - before[begin]) / static_cast<double>(s);
    std::size_t chosen = 0;
    for (std::size_t end = begin + 1; end + s - 1 <= n; ++end) {
      if (before[end] - before[begin] > best || dearest[s - 1][end] > best) continue;
      const auto off = [&](std::size_t e) { return std::abs(before[e] - before[begin] - even); };
      if (chosen == 0 || off(end) < off(chosen)) chosen = end;
    }
    begins.push_back(static_cast<std::int64_t>(chosen));
  }
  begins.push_back(static_cast<std::int64_t>(n));
  return begins;
}

}  // namespace longspan
