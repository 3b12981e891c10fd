// The main of test programs that compute on a GPU: where there is none, no test runs, and the program says why with
// exit code 77.
#include <gtest/gtest.h>

#include <cstdio>

#include "kernels/cuda/device_query.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const longspan::CudaDevices gpus = longspan::query_cuda_devices();
  if (gpus.names.empty() && !::testing::GTEST_FLAG(list_tests)) {
    // The words in brackets are how ctest knows a skipped test.
    std::printf("[  SKIPPED ] there is no GPU: %s\n", gpus.why_none.c_str());
    return 77;
  }
  return RUN_ALL_TESTS();
}
