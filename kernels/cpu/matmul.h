// What the CPU's matrix products share.
#pragma once

#include <compare>

#include "kernels/ops/matmul.h"

namespace longspan::cpu {

// Sizes of a product: a [M,K] . b [K,N] whatever their layouts.
struct MatmulSizes {
  std::int64_t m, n, k;
  auto operator<=>(const MatmulSizes&) const = default;
};
inline MatmulSizes sizes_of(const Matmul& args) {
  return {args.c.size(0), args.c.size(1), args.a.size(args.a_layout == Layout::kPlain ? 1 : 0)};
}

// oneDNN takes its number of threads from OpenMP's setting of the calling thread, for as long as this lives.
class OmpThreads {
 public:
  explicit OmpThreads(int num_threads);
  ~OmpThreads();
  OmpThreads(const OmpThreads&) = delete;
  OmpThreads& operator=(const OmpThreads&) = delete;

 private:
  int saved_;
};

// A residual as the libraries know it: c starts as the residual and the product is accumulated. Copies it to c.
Matmul started_with_residual(const Exec& exec, const Matmul& args);

// The product for fp32 a, b and c; the bias may be of either float dtype.
void sgemm(const Exec& exec, const Matmul& args);

}  // namespace longspan::cpu
