// Every rank body on threads as ranks.
#include <gtest/gtest.h>

#include <tuple>

#include "tests/multirank/rank_bodies.h"

namespace longspan::testing {
namespace {

using BodyAndRanks = std::tuple<RankBody, int>;

class LocalRanks : public ::testing::TestWithParam<BodyAndRanks> {};

TEST_P(LocalRanks, Run) {
  const auto& [body, num_ranks] = GetParam();
  run_local_ranks(num_ranks, {.timeout_ms = 60'000}, body.run);
}

std::string name_of(const ::testing::TestParamInfo<BodyAndRanks>& info) {
  return fmt::format("{}_{}", std::get<0>(info.param).name, std::get<1>(info.param));
}

const auto kSizes = ::testing::Values(1, 2, 3, 4, 5, 8);
std::vector<RankBody> listed(std::span<const RankBody> bodies) {
  return {bodies.begin(), bodies.end()};
}

INSTANTIATE_TEST_SUITE_P(Collectives, LocalRanks,
                         ::testing::Combine(::testing::ValuesIn(listed(collective_bodies())), kSizes), name_of);
INSTANTIATE_TEST_SUITE_P(Transfers, LocalRanks,
                         ::testing::Combine(::testing::ValuesIn(listed(transfer_bodies())), kSizes), name_of);

}  // namespace
}  // namespace longspan::testing
