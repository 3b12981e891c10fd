#include "kernels/cuda/device_query.h"

#include <gtest/gtest.h>

namespace longspan {
namespace {

TEST(DeviceQuery, GivesGpusOrTheReasonWhyNone) {
  const CudaDevices devices = query_cuda_devices();
  EXPECT_EQ(devices.why_none.empty(), !devices.names.empty()) << devices.why_none;
  for (const std::string& name : devices.names) EXPECT_FALSE(name.empty());
}

TEST(DeviceQuery, AnswersAlikeTwice) {
  const CudaDevices first = query_cuda_devices();
  const CudaDevices second = query_cuda_devices();
  EXPECT_EQ(first.names, second.names);
  EXPECT_EQ(first.why_none, second.why_none);
}

}  // namespace
}  // namespace longspan
