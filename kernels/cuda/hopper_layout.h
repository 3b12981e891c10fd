// Where elements stand in shared memory and in registers for Hopper's copy engine and tensor cores: plain formulas that
// kernels, the emulated device and tests share. Sections are those of the PTX ISA 9.0.
//
// A tile [rows, columns] of bf16 lies in shared memory as panels of 64 columns, one after the other. A row of a panel
// has 128 bytes; in every eight rows (1024 bytes, aligned to as many) the 16-byte pieces of a row are exchanged by the
// 128-byte swizzle. The copy engine lays a box down like that (5.5.7 "Swizzling modes"), the tensor cores read it by
// descriptors (9.7.15.5.1 "Asynchronous warpgroup level matrix: matrix descriptor format").
#pragma once

#include <cstdint>

#include "kernels/core/platform.h"

namespace longspan::cuda {

constexpr int kPanelColumns = 64, kPanelRowBytes = 128;
constexpr int kSwizzleRows = 8, kSwizzleBytes = kSwizzleRows * kPanelRowBytes;
constexpr int kWarpgroup = 128;    // threads
constexpr int kProductRows = 64;   // of D and A
constexpr int kProductDepth = 16;  // of A's columns and B's rows

// Address bits 4-6 are exchanged by bits 7-9.
LS_HD constexpr std::uint32_t swizzled(std::uint32_t address) {
  return address ^ ((address >> 7 & 7u) << 4);
}

// Byte of an element from the start of a tile of `rows` rows, a multiple of 8.
LS_HD constexpr std::uint32_t tile_offset(int rows, int row, int column) {
  const int panel = column / kPanelColumns, within = column % kPanelColumns;
  return swizzled(static_cast<std::uint32_t>((panel * rows + row) * kPanelRowBytes + within * 2));
}

// How a product reads a tile. The depth (the index that is summed) runs along columns or along rows of the tile:
// "K-major" and "MN-major" there.
enum class Depth { kAlongColumns, kAlongRows };

// Start of step `step` (16 deep) of an operand, in bytes from the start of a tile of `rows` rows. `first_row` is where
// the operand begins, a multiple of 8.
LS_HD constexpr std::uint32_t step_offset(Depth depth, int rows, int first_row, int step) {
  if (depth == Depth::kAlongRows)
    return static_cast<std::uint32_t>((first_row + step * kProductDepth) * kPanelRowBytes);
  const int panel = step / 4, within = step % 4;
  return static_cast<std::uint32_t>((panel * rows + first_row) * kPanelRowBytes + within * kProductDepth * 2);
}

// 9.7.15.5.1.2.2 "Matrix descriptor format": addresses and distances in units of 16 bytes; swizzle mode 1 is 128 bytes.
// The stride offset leads to the next eight rows of a panel, the leading offset to the next panel; depth along columns
// never leaves a panel and ignores the latter.
LS_HD constexpr std::uint64_t operand_descriptor(std::uint32_t address, int rows_of_tile) {
  const auto encode = [](std::uint32_t bytes) { return static_cast<std::uint64_t>((bytes & 0x3ffffu) >> 4); };
  const auto panel_bytes = static_cast<std::uint32_t>(rows_of_tile * kPanelRowBytes);
  return encode(address) | encode(panel_bytes) << 16 | encode(kSwizzleBytes) << 32 | std::uint64_t{1} << 62;
}

// The same operand, `num_bytes` further on.
LS_HD constexpr std::uint64_t advanced(std::uint64_t descriptor, std::uint32_t num_bytes) {
  return descriptor + (num_bytes >> 4);
}

// Place in D [64, N] of element `index` of the fragment of thread `thread` of the warpgroup (9.7.15.5.1 "Register
// fragments", accumulator D of .m64nNk16). An A fragment of 16 columns is four registers of two bf16, which hold what
// elements 0 … 7 of a D fragment hold: so eight neighbours of D, rounded, are the A of the next product.
LS_HD constexpr int fragment_row(int thread, int index) {
  return thread / 32 * 16 + thread % 32 / 4 + index / 2 % 2 * 8;
}
LS_HD constexpr int fragment_column(int thread, int index) {
  return index / 4 * 8 + thread % 4 * 2 + index % 2;
}

}  // namespace longspan::cuda
