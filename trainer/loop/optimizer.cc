#include "trainer/loop/optimizer.h"

#include "kernels/ops/training_ops.h"

namespace longspan {
namespace {

std::vector<WeightPiece> whole_pieces(std::span<const Parameter> parameters) {
  std::vector<WeightPiece> pieces;
  for (const Parameter& p : parameters)
    pieces.push_back({.parameter = static_cast<std::int64_t>(pieces.size()),
                      .range = {0, p.master.numel()},
                      .master = p.master,
                      .compute = p.compute,
                      .gradient = p.gradient});
  return pieces;
}

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, std::span<const Parameter> parameters, Arena& state)
    : Optimizer(config, parameters, whole_pieces(parameters), state) {}

Optimizer::Optimizer(const OptimizerConfig& config, std::span<const Parameter> parameters,
                     std::span<const WeightPiece> pieces, Arena& state)
    : config_(config), parameters_(parameters), pieces_(pieces.begin(), pieces.end()) {
  std::int64_t total = 0;
  for (const WeightPiece& piece : pieces_) total += piece.range.size();
  const Tensor m = state.allocate_zeroed("adam m", MemoryCategory::kOptimizer, DType::kF32, {total});
  const Tensor v = state.allocate_zeroed("adam v", MemoryCategory::kOptimizer, DType::kF32, {total});
  std::int64_t begin = 0;
  for (const WeightPiece& piece : pieces_) {
    const std::int64_t end = begin + piece.range.size();
    moments_.push_back({m.narrow(0, begin, end), v.narrow(0, begin, end)});
    begin = end;
  }
}

void Optimizer::update(const Exec& exec, std::int64_t step, double lr, double grad_scale) {
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const WeightPiece& p = pieces_[i];
    AdamW args{.weight = p.master, .grad = p.gradient, .m = moments_[i].m, .v = moments_[i].v, .compute_copy = {}};
    if (p.compute.data != p.master.data) args.compute_copy = p.compute;
    const bool decays = parameters_[static_cast<std::size_t>(p.parameter)].decays;
    args.lr = static_cast<float>(lr);
    args.beta1 = static_cast<float>(config_.beta1);
    args.beta2 = static_cast<float>(config_.beta2);
    args.eps = static_cast<float>(config_.eps);
    args.weight_decay = decays ? static_cast<float>(config_.weight_decay) : 0.0f;
    args.grad_scale = static_cast<float>(grad_scale);
    args.step = step;
    adamw(exec, args);
  }
}

}  // namespace longspan
