// AdamW on flat tensors: weight, moments and gradient are read once, and weight, moments and copy written once.

#include "device/launch.cuh"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/plan.h"
#include "kernels/cuda/rows.cuh"
#include "kernels/reference/adamw_factors.h"
#include "kernels/reference/stochastic_rounding.h"

namespace longspan::cuda {
namespace {

constexpr int kThreads = 256;

template <class Copy>
struct UpdateArgs {
  float *weight, *m, *v;
  const float* grad;
  Copy* copy;  // null: none
  std::int64_t count;
  AdamWFactors factors;
  CopyRounding rounding;
  std::uint64_t seed;
  Access access;
};

template <class Copy>
__global__ void __launch_bounds__(kThreads) update_kernel(UpdateArgs<Copy> a) {
  const AdamWFactors& f = a.factors;
  const std::int64_t step = std::int64_t{gridDim.x} * kThreads * kChunk;
  for (std::int64_t begin = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * kChunk; begin < a.count;
       begin += step) {
    const int count = chunk_length(begin, a.count);
    float w[kChunk], g[kChunk], m[kChunk], v[kChunk];
    load_chunk(a.weight + begin, count, a.access, w);
    load_chunk(a.grad + begin, count, a.access, g);
    load_chunk(a.m + begin, count, a.access, m);
    load_chunk(a.v + begin, count, a.access, v);
    for (int i = 0; i < kChunk; ++i) {
      const float scaled = g[i] * f.grad_scale;
      m[i] = f.beta1 * m[i] + f.one_minus_beta1 * scaled;
      v[i] = f.beta2 * v[i] + f.one_minus_beta2 * scaled * scaled;
      const float root = std::sqrt(v[i] * f.inverse_correction2) + f.eps;
      w[i] -= f.lr * (m[i] * f.inverse_correction1 / root + f.weight_decay * w[i]);
    }
    store_chunk(a.weight + begin, count, a.access, w);
    store_chunk(a.m + begin, count, a.access, m);
    store_chunk(a.v + begin, count, a.access, v);
    if (!a.copy) continue;
    if constexpr (sizeof(Copy) == sizeof(bf16))
      if (a.rounding == CopyRounding::kStochastic)
        for (int i = 0; i < kChunk; ++i)
          w[i] = static_cast<float>(reference::round_stochastically(w[i], a.seed, begin + i));
    store_chunk(a.copy + begin, count, a.access, w);
  }
}

void run(const Exec& exec, const AdamW& args) {
  const std::int64_t count = args.weight.numel();
  constexpr int kBlocksOfMultiprocessor = 8;
  const Launch how{.grid = dim3(grid_blocks(ceil_div(chunks_of(count), kThreads), properties_of(exec).multiprocessors,
                                            kBlocksOfMultiprocessor)),
                   .block = dim3(kThreads)};
  Access access = Access::kVectors;  // flat: where rows begin does not matter
  for (const Tensor& each : {args.weight, args.grad, args.m, args.v, args.compute_copy})
    if (reinterpret_cast<std::uintptr_t>(each.data) % 16 != 0) access = Access::kElements;
  with_float_type(args.compute_copy ? args.compute_copy.dtype : DType::kF32, [&](auto zero) {
    using Copy = decltype(zero);
    launch(exec, "adamw", how, update_kernel<Copy>,
           UpdateArgs<Copy>{.weight = args.weight.get<float>(),
                            .m = args.m.get<float>(),
                            .v = args.v.get<float>(),
                            .grad = args.grad.get<float>(),
                            .copy = args.compute_copy ? args.compute_copy.get<Copy>() : nullptr,
                            .count = count,
                            .factors = factors_of(args),
                            .rounding = args.copy_rounding,
                            .seed = args.rounding_seed,
                            .access = access});
  });
}

}  // namespace

const Kernel<AdamW> kAdamw{"chunks", needs_cuda, run};

}  // namespace longspan::cuda
