// Matrix product with fp32 accumulation.
#pragma once

#include <string>
#include <string_view>

#include "kernels/core/exec.h"
#include "kernels/ops/op_list.h"

namespace longspan {

enum class Layout : std::uint8_t { kPlain, kTransposed };
enum class WriteMode : std::uint8_t { kOverwrite, kAccumulate };

// c[M,N] = a . b (+ c when accumulating) (+ bias[N] in every row) (+ residual).
struct Matmul {
  Tensor a;       // [M,K], or [K,M] when a_layout is kTransposed; rows may be strided, the last dimension is contiguous
  Tensor b;       // [K,N], or [N,K] when b_layout is kTransposed; same dtype as a: fp32 or bf16
  Tensor c;       // [M,N] fp32 or bf16; must not alias a, b
  Tensor bias{};  // [N] of a's dtype; absent: none
  Tensor residual{};  // like c, apart from it; absent: none, and so when accumulating
  Layout a_layout = Layout::kPlain;
  Layout b_layout = Layout::kPlain;
  WriteMode mode = WriteMode::kOverwrite;
};

// Checks, chooses, runs. Bitwise repeatable for equal shapes and exec.num_threads. Scratch: none for fp32; for bf16
// what oneDNN asks for, or 12 MiB where the CPU has no bf16 products; on a GPU 32 MiB.
void matmul(const Exec& exec, const Matmul& args);

// One line on the CPU's instruction sets and how fp32 and bf16 products will run here.
std::string describe_matmul_hardware();

}  // namespace longspan
