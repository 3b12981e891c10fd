// The product of our own, for what a library has no algorithm for.
#pragma once

#include "kernels/core/exec.h"
#include "kernels/ops/matmul.h"

namespace longspan::cuda {

// c = a . b as matmul.h has it, of every layout, size and stride. No scratch.
void matmul_tiled(const Exec& exec, const Matmul& args);

}  // namespace longspan::cuda
