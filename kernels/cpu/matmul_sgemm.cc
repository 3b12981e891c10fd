#include <dnnl.hpp>

#include <algorithm>
#include <omp.h>
#include <vector>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/kernel_list.h"
#include "kernels/ops/layer_ops.h"

namespace longspan::cpu {
namespace {

// sgemm knows no bias: c starts as the bias, or has it added, and the product is then accumulated. A plain loop: it
// touches c once, where the product touches it k times.
void start_with_bias(const Exec& exec, const Matmul& args) {
  const MatmulSizes sizes = sizes_of(args);
  const auto bias_at = [&](std::int64_t j) {
    return args.bias.dtype == DType::kBF16 ? static_cast<float>(args.bias.get<bf16>()[j]) : args.bias.get<float>()[j];
  };
  std::vector<float> bias(static_cast<std::size_t>(sizes.n));
  if (args.bias)
    for (std::int64_t j = 0; j < sizes.n; ++j) bias[j] = bias_at(j);
  float* c = args.c.get<float>();
  const std::int64_t stride = args.c.stride[0];
  parallel_for(exec, blocks_of_rows(sizes.m, sizes.n), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = 0; j < sizes.n; ++j)
        c[i * stride + j] = args.mode == WriteMode::kAccumulate ? c[i * stride + j] + bias[j] : bias[j];
  });
}

Refusal why_unsupported(const KernelDesc& desc) {
  if (desc.dtype != DType::kF32 || desc.result != DType::kF32) return "takes fp32 alone";
  return needs_cpu(desc);
}

}  // namespace

OmpThreads::OmpThreads(int num_threads) : saved_(omp_get_max_threads()) {
  omp_set_num_threads(num_threads);
}
OmpThreads::~OmpThreads() {
  omp_set_num_threads(saved_);
}

Matmul started_with_residual(const Exec& exec, const Matmul& args) {
  Matmul started = args;
  if (!args.residual) return started;
  cast(exec, args.residual, args.c);
  started.residual = Tensor();
  started.mode = WriteMode::kAccumulate;
  return started;
}

void sgemm(const Exec& exec, const Matmul& args) {
  if (args.residual) return sgemm(exec, started_with_residual(exec, args));
  const auto [m, n, k] = sizes_of(args);
  if (m == 0 || n == 0) return;
  const bool product_alone = !args.bias && args.mode == WriteMode::kOverwrite && k > 0;
  if (args.bias || (args.mode == WriteMode::kOverwrite && k == 0)) start_with_bias(exec, args);
  if (k == 0) return;
  const auto letter = [](Layout layout) { return layout == Layout::kPlain ? 'N' : 'T'; };
  // A matrix of one row may come with any stride; the library wants one that covers the row.
  const auto leading = [](const Tensor& matrix) { return std::max(matrix.stride[0], matrix.shape[1]); };
  OmpThreads threads(exec.num_threads);
  const dnnl_status_t status = dnnl_sgemm(letter(args.a_layout), letter(args.b_layout), m, n, k, 1.0f,
                                          args.a.get<float>(), leading(args.a), args.b.get<float>(), leading(args.b),
                                          product_alone ? 0.0f : 1.0f, args.c.get<float>(), leading(args.c));
  LS_CHECK(status == dnnl_success, "matmul: oneDNN's sgemm of {} and {} into {} returned status {}", args.a.describe(),
           args.b.describe(), args.c.describe(), static_cast<int>(status));
}

const Kernel<Matmul> kMatmulSgemm{"oneDNN sgemm", why_unsupported, sgemm};

}  // namespace longspan::cpu
