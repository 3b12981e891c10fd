// Registers moved between warpgroups of a block (setmaxnreg). Here there is no file of registers to share; that all
// threads of a warp come and that the number is one the hardware takes is checked.
#pragma once

#include "device/platform.cuh"
#include "kernels/cuda/emulated/block.h"

namespace longspan::cuda {

template <int kRegisters>
void set_registers_up() {
  static_assert(kRegisters >= 24 && kRegisters <= 256 && kRegisters % 8 == 0);
  emulated::Block::current().exchange("set_registers_up", nullptr, 0);
}

template <int kRegisters>
void set_registers_down() {
  static_assert(kRegisters >= 24 && kRegisters <= 256 && kRegisters % 8 == 0);
  emulated::Block::current().exchange("set_registers_down", nullptr, 0);
}

}  // namespace longspan::cuda
