// Every rank body on threads as ranks.
#include <gtest/gtest.h>

#include <tuple>

#include "tests/multirank/rank_bodies.h"
#include "tests/parallel/lazy_device.h"

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

using DeviceBodyAndRanks = std::tuple<DeviceBody, int>;

class LocalDevices : public ::testing::TestWithParam<DeviceBodyAndRanks> {};

TEST_P(LocalDevices, Run) {
  const auto& [body, num_ranks] = GetParam();
  std::vector<LazyDevice> devices(static_cast<std::size_t>(num_ranks));
  run_local_ranks(num_ranks, {.timeout_ms = 60'000}, [&, &body = body](Communicator& world) {
    run_on_device(world, devices[static_cast<std::size_t>(world.rank())], body);
  });
}

INSTANTIATE_TEST_SUITE_P(Bodies, LocalDevices,
                         ::testing::Combine(::testing::ValuesIn(device_bodies().begin(), device_bodies().end()),
                                            ::testing::Values(1, 2, 3, 5)),
                         [](const ::testing::TestParamInfo<DeviceBodyAndRanks>& info) {
                           return fmt::format("{}_{}", std::get<0>(info.param).name, std::get<1>(info.param));
                         });

}  // namespace
}  // namespace longspan::testing
