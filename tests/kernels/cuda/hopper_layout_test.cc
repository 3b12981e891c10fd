// Formulas of layouts on Hopper against what the PTX ISA's tables say, and against each other.
#include "kernels/cuda/hopper_layout.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace longspan::cuda {
namespace {

TEST(HopperLayout, SwizzleExchangesPiecesOf16BytesByRow) {
  // Figures of 5.5.7, 128-byte mode: piece c of row r stands at c xor (r mod 8).
  for (int row = 0; row < 16; ++row)
    for (int piece = 0; piece < 8; ++piece)
      EXPECT_EQ(swizzled(static_cast<std::uint32_t>(row * 128 + piece * 16 + 6)),
                static_cast<std::uint32_t>(row * 128 + (piece ^ (row % 8)) * 16 + 6));
}

TEST(HopperLayout, EveryElementOfATileHasAPlace) {
  for (const int columns : {64, 128}) {
    std::set<std::uint32_t> places;
    for (int row = 0; row < 72; ++row)
      for (int column = 0; column < columns; ++column) places.insert(tile_offset(72, row, column));
    EXPECT_EQ(places.size(), static_cast<std::size_t>(72 * columns));
    EXPECT_EQ(*places.rbegin(), static_cast<std::uint32_t>(72 * columns * 2 - 2));
  }
}

TEST(HopperLayout, FragmentsCoverTheProductOnce) {
  for (const int columns : {64, 128}) {
    std::set<std::pair<int, int>> seen;
    for (int thread = 0; thread < kWarpgroup; ++thread)
      for (int i = 0; i < columns / 2; ++i) {
        const int row = fragment_row(thread, i), column = fragment_column(thread, i);
        EXPECT_TRUE(row >= 0 && row < 64 && column >= 0 && column < columns);
        seen.emplace(row, column);
      }
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(64 * columns));
  }
  // Thread 37 of the warpgroup: lane 5 of warp 1. d0 d1 in row 17 at columns 2 and 3, d2 d3 eight rows below, d4 …
  // eight columns on.
  EXPECT_EQ(fragment_row(37, 0), 17);
  EXPECT_EQ(fragment_column(37, 1), 3);
  EXPECT_EQ(fragment_row(37, 2), 25);
  EXPECT_EQ(fragment_column(37, 2), 2);
  EXPECT_EQ(fragment_row(37, 4), 17);
  EXPECT_EQ(fragment_column(37, 4), 10);
}

TEST(HopperLayout, DescriptorFields) {
  const std::uint64_t d = operand_descriptor(0x2c400, 128);
  EXPECT_EQ(d & 0x3fff, 0x2c40u);
  EXPECT_EQ(d >> 16 & 0x3fff, 128u * 128 / 16);
  EXPECT_EQ(d >> 32 & 0x3fff, 1024u / 16);
  EXPECT_EQ(d >> 49 & 7, 0u);
  EXPECT_EQ(d >> 62, 1u);
  EXPECT_EQ(advanced(d, 96), operand_descriptor(0x2c460, 128));
}

// Where a product of one step looks for (outer, depth), by the strides of its descriptor, is where the tile has it.
TEST(HopperLayout, StepsFindTheirElements) {
  constexpr int kRows = 128;
  for (int step = 0; step < 8; ++step)
    for (int outer = 0; outer < 128; ++outer)
      for (int depth = 0; depth < kProductDepth; ++depth) {
        const auto along_columns = step_offset(Depth::kAlongColumns, kRows, 0, step) +
                                   static_cast<std::uint32_t>(outer / 8 * 1024 + outer % 8 * 128 + depth * 2);
        ASSERT_EQ(swizzled(along_columns), tile_offset(kRows, outer, step * 16 + depth));
        const auto along_rows =
            step_offset(Depth::kAlongRows, kRows, 0, step) +
            static_cast<std::uint32_t>(outer / 64 * kRows * 128 + outer % 64 * 2 + depth / 8 * 1024 + depth % 8 * 128);
        ASSERT_EQ(swizzled(along_rows), tile_offset(kRows, step * 16 + depth, outer));
      }
  EXPECT_EQ(step_offset(Depth::kAlongColumns, kRows, 64, 5), tile_offset(kRows, 64, 80));
}

}  // namespace
}  // namespace longspan::cuda
