#include <algorithm>
#include <numeric>
#include <tuple>

#include "parallel/context/proof.h"

namespace longspan {

// Both ends of a pair walk the same list and post operands before, results after the tasks of a step. The n-th send
// meets the n-th receive exactly if that walk is also the order of the list; and as every rank waits in a step only
// for what was posted in the step before, no cycle of waits can form.
std::optional<std::string> find_order_fault(const DirectionProof& proof) {
  const std::vector<PlanTransfer>& transfers = proof.direction.transfers;
  std::vector<std::int32_t> order(transfers.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return std::tie(transfers[a].from, transfers[a].to) < std::tie(transfers[b].from, transfers[b].to);
  });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const PlanTransfer& before = transfers[order[i - 1]];
    const PlanTransfer& after = transfers[order[i]];
    if (before.from != after.from || before.to != after.to) continue;
    if (before.step > after.step)
      return fmt::format("{} stands after one of step {} between the same ranks: sends and receives would not meet",
                         describe(proof, after), before.step);
    if (before.step == after.step && !is_operand(before.kind) && is_operand(after.kind))
      return fmt::format("{} stands after a result of the same step between the same ranks: operands are posted first",
                         describe(proof, after));
  }
  return std::nullopt;
}

}  // namespace longspan
