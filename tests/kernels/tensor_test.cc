#include "kernels/core/tensor.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/support/expect_error.h"

namespace longspan {
namespace {

using testing::expect_error;

TEST(Tensor, IsRowMajorAndContiguousWhenMade) {
  std::vector<float> memory(24);
  const Tensor tensor(memory.data(), DType::kF32, {2, 3, 4});
  EXPECT_EQ(tensor.numel(), 24);
  EXPECT_EQ(tensor.num_bytes(), 96);
  EXPECT_EQ(tensor.stride[0], 12);
  EXPECT_EQ(tensor.stride[1], 4);
  EXPECT_EQ(tensor.stride[2], 1);
  EXPECT_TRUE(tensor.is_contiguous());
  EXPECT_EQ(tensor.describe(), "fp32[2, 3, 4]");
}

TEST(Tensor, AbsentIsFalseAndEmpty) {
  const Tensor absent;
  EXPECT_FALSE(absent);
  EXPECT_EQ(absent.numel(), 0);
  EXPECT_EQ(absent.describe(), "absent");
}

TEST(Tensor, NarrowSharesMemory) {
  std::vector<float> memory(12);
  std::iota(memory.begin(), memory.end(), 0.0f);
  const Tensor tensor(memory.data(), DType::kF32, {3, 4});
  const Tensor part = tensor.narrow(1, 1, 3);
  EXPECT_EQ(part.size(1), 2);
  EXPECT_EQ(part.get<float>()[part.stride[0]], 5.0f);
  EXPECT_FALSE(part.is_contiguous());
  EXPECT_EQ(part.describe(), "fp32[3, 2] strides [4, 1]");
  EXPECT_TRUE(tensor.narrow(0, 1, 2).is_contiguous());
  EXPECT_EQ(tensor.narrow(0, 3, 3).numel(), 0);
}

TEST(Tensor, OneRowIsContiguousWhateverItsStride) {
  std::vector<float> memory(12);
  const Tensor column = Tensor(memory.data(), DType::kF32, {3, 4}).narrow(0, 0, 1).narrow(1, 0, 2);
  EXPECT_TRUE(column.is_contiguous());
}

TEST(Tensor, ViewKeepsTheElements) {
  std::vector<bf16> memory(12);
  const Tensor tensor(memory.data(), DType::kBF16, {3, 4});
  const Tensor other = tensor.view({2, 6});
  EXPECT_EQ(other.data, tensor.data);
  EXPECT_EQ(other.dtype, DType::kBF16);
  EXPECT_FALSE(tensor.same_shape(other));
  expect_error(ErrorKind::kInternal, {"bf16[3, 4]", "bf16[5, 2]"}, [&] { tensor.view({5, 2}); });
  expect_error(ErrorKind::kInternal, {"strided", "bf16[3, 2]"}, [&] { tensor.narrow(1, 0, 2).view({6}); });
}

TEST(Tensor, RefusesWrongDtypesRangesAndSizes) {
  std::vector<float> memory(12);
  const Tensor tensor(memory.data(), DType::kF32, {3, 4});
  expect_error(ErrorKind::kInternal, {"fp32[3, 4]", "bf16"}, [&] { tensor.get<bf16>(); });
  expect_error(ErrorKind::kInternal, {"[2, 5)", "fp32[3, 4]"}, [&] { tensor.narrow(0, 2, 5); });
  expect_error(ErrorKind::kInternal, {"[2, 1)"}, [&] { tensor.narrow(0, 2, 1); });
  expect_error(ErrorKind::kInternal, {"dimension 2 of fp32[3, 4]"}, [&] { tensor.size(2); });
  expect_error(ErrorKind::kInternal, {"size -1"}, [&] { Tensor(memory.data(), DType::kF32, {-1}); });
  expect_error(ErrorKind::kInternal, {"5 dimensions"}, [&] { Tensor(memory.data(), DType::kF32, {1, 1, 1, 1, 1}); });
}

TEST(Tensor, CountsPastTwoToTheThirtyTwo) {
  const Tensor huge(nullptr, DType::kBF16, {1 << 20, 1 << 20});
  EXPECT_EQ(huge.num_bytes(), std::int64_t{1} << 41);
  const Tensor last = huge.narrow(0, (1 << 20) - 1, 1 << 20);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(last.data), ((std::uintptr_t{1} << 20) - 1) << 21);
}

}  // namespace
}  // namespace longspan
