// Tiles of tensors brought into shared memory by the copy engine of a real GPU (PTX ISA, "cp.async.bulk.tensor").
#pragma once

#include <cuda.h>

#include "device/barrier.cuh"
#include "kernels/core/tensor.h"
#include "kernels/cuda/hopper_layout.h"

namespace longspan::cuda {

// What the copy engine knows of a tensor. Reaches kernels by value in a __grid_constant__ parameter.
struct TensorMap {
  CUtensorMap bits;
};

// For boxes of 64 columns x 1 head x `box_rows` rows (at most 256) of rows [T, H, D] of bf16, laid down as
// hopper_layout.h says. Places outside the tensor read as zeros. The tensor's address and its strides must be multiples
// of 16 bytes (PTX ISA 5.5.2, "Tensor dimension, size and format"). Throws Error(kEnvironment) if the driver refuses.
TensorMap make_tensor_map(const Tensor& rows, int box_rows);

// One thread: starts the copy of a box to `shared`, a multiple of 1024 bytes; `barrier` counts its bytes, also those
// that lie outside the tensor.
__device__ __forceinline__ void load_box(void* shared, const TensorMap& map, Barrier64& barrier, int column, int head,
                                         int row) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(&barrier)), "r"(column), "r"(head), "r"(row)
      : "memory");
}

// One thread, early in the kernel: fetches the description itself.
__device__ __forceinline__ void prefetch(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

}  // namespace longspan::cuda
