#include "kernels/cuda/element_rows.h"

#include <gtest/gtest.h>

#include "tests/support/test_tensor.h"

namespace longspan::cuda {
namespace {

using testing::offset_of;

alignas(16) float memory[1];

Tensor strided(std::initializer_list<std::int64_t> shape, std::initializer_list<std::int64_t> stride) {
  Tensor tensor(memory, DType::kF32, shape);
  std::copy(stride.begin(), stride.end(), tensor.stride.begin());
  return tensor;
}

// Every element is met once, in its place in every operand.
template <int N>
void expect_covers(const std::array<Tensor, N>& operands) {
  const ElementRows<N> plan = element_rows<N>(operands);
  ASSERT_EQ(plan.rows * plan.width, operands[0].numel());
  for (std::int64_t row = 0; row < plan.rows; ++row)
    for (std::int64_t column = 0; column < plan.width; ++column)
      for (int i = 0; i < N; ++i)
        ASSERT_EQ(plan.offset(i, row) + column, offset_of(operands[i], row * plan.width + column))
            << "operand " << i << ", row " << row << ", column " << column;
}

TEST(ElementRows, ContiguousOperandsAreOneRow) {
  const Tensor tensor(memory, DType::kF32, {3, 4, 5, 6});
  EXPECT_EQ(element_rows<2>({tensor, tensor}).rows, 1);
  EXPECT_EQ(element_rows<2>({tensor, tensor}).width, 360);
}

TEST(ElementRows, MeetsEveryElementOfStridedOperands) {
  const Tensor plain(memory, DType::kF32, {3, 4, 5, 6});
  expect_covers<1>({strided({3, 4, 5, 6}, {1000, 100, 10, 1})});
  expect_covers<1>({strided({3, 4, 5, 6}, {120, 30, 6, 1})});
  expect_covers<2>({plain, strided({3, 4, 5, 6}, {200, 30, 6, 1})});
  expect_covers<2>({plain, strided({3, 4, 5, 6}, {160, 40, 8, 1})});
  expect_covers<3>({strided({3, 4, 5, 6}, {160, 40, 8, 1}), plain, strided({3, 4, 5, 6}, {6, 18, 72, 1})});
  expect_covers<2>({strided({7, 1, 3}, {3, 99, 1}), strided({7, 1, 3}, {5, 7, 1})});
  expect_covers<1>({strided({1, 1, 1}, {4, 3, 9})});
}

TEST(ElementRows, MergesWhatAllOperandsAllow) {
  const ElementRows<2> both =
      element_rows<2>({strided({3, 4, 5, 6}, {160, 40, 8, 1}), strided({3, 4, 5, 6}, {180, 45, 9, 1})});
  EXPECT_EQ(both.rows, 60);
  EXPECT_EQ(both.outer, 1);
  const ElementRows<2> inner =
      element_rows<2>({strided({3, 4, 5, 6}, {500, 120, 6, 1}), strided({3, 4, 5, 6}, {500, 120, 6, 1})});
  EXPECT_EQ(inner.width, 30);
  EXPECT_EQ(inner.rows, 12);
}

TEST(ElementRows, NoElementsAreNoRows) {
  const Tensor none(memory, DType::kF32, {0, 8});
  EXPECT_EQ(element_rows<1>({none}).rows, 0);
}

TEST(ElementRows, VectorsNeedEveryRowAligned) {
  const auto width = [](const Tensor& tensor) { return vector_width<1>(element_rows<1>({tensor}), {tensor}, 4); };
  EXPECT_EQ(width(strided({5, 7}, {8, 1})), 4);
  EXPECT_EQ(width(strided({5, 7}, {7, 1})), 4);  // one row of 35
  EXPECT_EQ(width(strided({5, 7}, {9, 1})), 1);
  EXPECT_EQ(width(strided({5, 7}, {8, 1}).narrow(1, 1, 7)), 1);
  EXPECT_EQ(width(strided({5, 8}, {8, 1}).narrow(1, 4, 7)), 4);
}

}  // namespace
}  // namespace longspan::cuda
