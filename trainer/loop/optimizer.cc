#include "trainer/loop/optimizer.h"

#include "kernels/ops/training_ops.h"

namespace longspan {

Optimizer::Optimizer(const OptimizerConfig& config, std::span<Parameter> parameters, Arena& state)
    : config_(config), parameters_(parameters) {
  std::int64_t total = 0;
  for (const Parameter& p : parameters_) total += p.master.numel();
  const Tensor m = state.allocate_zeroed("adam m", MemoryCategory::kOptimizer, DType::kF32, {total});
  const Tensor v = state.allocate_zeroed("adam v", MemoryCategory::kOptimizer, DType::kF32, {total});
  std::int64_t begin = 0;
  for (const Parameter& p : parameters_) {
    const std::int64_t end = begin + p.master.numel();
    moments_.push_back({m.narrow(0, begin, end), v.narrow(0, begin, end)});
    begin = end;
  }
}

void Optimizer::update(const Exec& exec, std::int64_t step, double lr, double grad_scale) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = parameters_[i];
    AdamW args{.weight = p.master, .grad = p.gradient, .m = moments_[i].m, .v = moments_[i].v, .compute_copy = {}};
    if (p.compute.data != p.master.data) args.compute_copy = p.compute;
    args.lr = static_cast<float>(lr);
    args.beta1 = static_cast<float>(config_.beta1);
    args.beta2 = static_cast<float>(config_.beta2);
    args.eps = static_cast<float>(config_.eps);
    args.weight_decay = p.decays ? static_cast<float>(config_.weight_decay) : 0.0f;
    args.grad_scale = static_cast<float>(grad_scale);
    args.step = step;
    adamw(exec, args);
  }
}

}  // namespace longspan
