// Copies between tensors on the host; what they refuse.
#include "kernels/core/host_copy.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/test_tensor.h"

namespace longspan::testing {
namespace {

TEST(HostCopy, CopiesEveryElementAndNoMore) {
  TestTensor from(DType::kI32, {3, 5}), to(DType::kI32, {15});
  std::vector<double> values(15);
  std::iota(values.begin(), values.end(), -7.0);
  from.fill(values);
  copy_tensor(TestExec(), from, to);
  EXPECT_EQ(to.values(), values);
  EXPECT_TRUE(to.guards_intact());
}

TEST(HostCopy, ReadsFigures) {
  TestTensor figures(DType::kF64, {3});
  figures.fill({1e-300, -2.5, 7});
  EXPECT_EQ(read_doubles(TestExec(), figures), (std::vector<double>{1e-300, -2.5, 7}));
  EXPECT_EQ(read_doubles(TestExec(), figures.view().narrow(0, 1, 2)), std::vector<double>{-2.5});
}

TEST(HostCopy, RefusesWhatDoesNotFit) {
  const TestTensor a(DType::kF32, {4}), b(DType::kF32, {5}), half(DType::kBF16, {4});
  const TestTensor gaps(DType::kF32, {2, 2}, {.row = 1, .outer = 0});
  Tensor elsewhere = a;
  elsewhere.device = Device::kCuda;
  for (const Tensor& to : {b.view(), half.view(), gaps.view(), elsewhere})
    expect_error(ErrorKind::kInternal, {"copy", a.view().describe()}, [&] { copy_tensor(TestExec(), a, to); });
}

}  // namespace
}  // namespace longspan::testing
