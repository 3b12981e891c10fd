// Reductions and gathers over replicas on threads as ranks that share GPU 0.
#include <gtest/gtest.h>

#include <tuple>

#include "kernels/cuda/device.h"
#include "tests/parallel/data_bodies.h"

namespace longspan::testing {
namespace {

using BodyAndRanks = std::tuple<DataBody, int>;
class DataOnGpu : public ::testing::TestWithParam<BodyAndRanks> {};

TEST_P(DataOnGpu, Run) {
  const auto& [body, num_ranks] = GetParam();
  run_local_ranks(num_ranks, {.timeout_ms = 60'000}, [&body = body](Communicator& world) {
    const std::unique_ptr<DeviceRuntime> gpu = make_device_runtime(0);
    gpu->make_current();
    const Stream compute = gpu->make_stream(StreamUse::kCompute);
    const auto comm = world.split(0, world.rank());
    comm->use_device(*gpu, compute);
    body.run({*comm, {.device = Device::kCuda, .runtime = gpu.get(), .stream = compute}});
  });
}

std::vector<DataBody> all_bodies() {
  std::vector<DataBody> all(reduction_bodies().begin(), reduction_bodies().end());
  all.insert(all.end(), gather_bodies().begin(), gather_bodies().end());
  return all;
}

INSTANTIATE_TEST_SUITE_P(Bodies, DataOnGpu,
                         ::testing::Combine(::testing::ValuesIn(all_bodies()), ::testing::Values(1, 2, 3)),
                         [](const ::testing::TestParamInfo<BodyAndRanks>& info) {
                           return fmt::format("{}_{}", std::get<0>(info.param).name, std::get<1>(info.param));
                         });

}  // namespace
}  // namespace longspan::testing
