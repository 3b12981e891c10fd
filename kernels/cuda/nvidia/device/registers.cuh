// Registers moved between warpgroups of a block (PTX ISA, "setmaxnreg"). Every warp of the warpgroup calls it at the
// same place; the kernel needs __launch_bounds__(threads, 1).
#pragma once

#include "device/platform.cuh"

namespace longspan::cuda {

// Multiples of 8 from 24 to 256. The caller waits until others have given up enough.
template <int kRegisters>
__device__ __forceinline__ void set_registers_up() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <int kRegisters>
__device__ __forceinline__ void set_registers_down() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace longspan::cuda
