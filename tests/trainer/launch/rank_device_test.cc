// What run.device means: the host where it is asked for, a GPU or the reason why none.
#include "trainer/launch/rank_device.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/cuda/device_query.h"

namespace longspan {
namespace {

TEST(RankDevice, TheHostIsAlwaysThere) {
  const DeviceChoice choice = choose_device("cpu");
  EXPECT_EQ(choice.device, Device::kCpu);
  const RankDevice device(choice, {});
  EXPECT_EQ(&device.runtime(), &host_runtime());
  EXPECT_EQ(device.name(), "cpu");
  EXPECT_EQ(describe(choice, device), "cpu (asked for)");
  run_local_ranks(1, {}, [&](Communicator& world) { EXPECT_EQ(&DeviceWorld(world, device).comm(), &world); });
}

TEST(RankDevice, WithoutAGpuCudaIsAnErrorThatSaysWhyAndAutoTheHost) {
  const CudaDevices gpus = query_cuda_devices();
  if (!gpus.names.empty()) GTEST_SKIP() << "there is a GPU: " << gpus.names.front();
  EXPECT_EQ(choose_device("auto").device, Device::kCpu);
  EXPECT_EQ(choose_device("auto").why, "auto: " + gpus.why_none);
  try {
    choose_device("cuda");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(gpus.why_none), std::string::npos) << error.what();
    EXPECT_EQ(error.kind() == ErrorKind::kUnsupported, gpus.why_none == "built without CUDA");
  }
}

TEST(RankDevice, KernelsAreLoadedAtTheStartUnlessTheUserSaysOtherwise) {
  constexpr const char* kVariable = "CUDA_MODULE_LOADING";
  unsetenv(kVariable);
  load_kernels_at_start();
  EXPECT_STREQ(std::getenv(kVariable), "EAGER");
  setenv(kVariable, "LAZY", 1);
  load_kernels_at_start();
  EXPECT_STREQ(std::getenv(kVariable), "LAZY");
  unsetenv(kVariable);
}

TEST(RankDevice, WithAGpuRanksTakeThemInTurn) {
  const CudaDevices gpus = query_cuda_devices();
  if (gpus.names.empty()) GTEST_SKIP() << "there is no GPU: " << gpus.why_none;
  const DeviceChoice choice = choose_device("cuda");
  const auto num_gpus = static_cast<int>(gpus.names.size());
  EXPECT_EQ(choice.num_gpus, num_gpus);
  EXPECT_EQ(choose_device("auto").device, choice.emulated ? Device::kCpu : Device::kCuda)
      << "emulated ones are for tests";
  for (const int local_rank : {0, num_gpus - 1, num_gpus}) {
    const RankDevice device(choice, {.local_rank = local_rank, .local_size = num_gpus + 1});
    EXPECT_EQ(device.ordinal(), local_rank % num_gpus);
    EXPECT_EQ(device.name(), gpus.names[static_cast<std::size_t>(device.ordinal())]);
    EXPECT_EQ(device.exec(3, nullptr).device, Device::kCuda);
  }
}

}  // namespace
}  // namespace longspan
