// Every device body on threads as ranks that share GPU 0.
#include <gtest/gtest.h>

#include <tuple>

#include "kernels/cuda/device.h"
#include "tests/multirank/rank_bodies.h"

namespace longspan::testing {
namespace {

using DeviceBodyAndRanks = std::tuple<DeviceBody, int>;

class GpuRanks : public ::testing::TestWithParam<DeviceBodyAndRanks> {};

TEST_P(GpuRanks, Run) {
  const auto& [body, num_ranks] = GetParam();
  run_local_ranks(num_ranks, {.timeout_ms = 60'000}, [&body = body](Communicator& world) {
    const std::unique_ptr<DeviceRuntime> gpu = make_device_runtime(0);
    run_on_device(world, *gpu, body);
  });
}

INSTANTIATE_TEST_SUITE_P(Bodies, GpuRanks,
                         ::testing::Combine(::testing::ValuesIn(device_bodies().begin(), device_bodies().end()),
                                            ::testing::Values(1, 2, 3)),
                         [](const ::testing::TestParamInfo<DeviceBodyAndRanks>& info) {
                           return fmt::format("{}_{}", std::get<0>(info.param).name, std::get<1>(info.param));
                         });

}  // namespace
}  // namespace longspan::testing
