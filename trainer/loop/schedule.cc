#include "trainer/loop/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/core/error.h"

namespace longspan {
namespace {

// How far a decay from `begin` to `end` has come at `step`: 0 … 1.
double progress(double step, double begin, double end) {
  return end > begin ? std::clamp((step - begin) / (end - begin), 0.0, 1.0) : (step > begin ? 1.0 : 0.0);
}

// Share of the way from lr (1) down to the lowest rate (0).
double decay_of(const OptimizerConfig& config, double total, double step) {
  const auto warmup = static_cast<double>(config.warmup_steps);
  if (config.schedule == "constant") return 1;
  if (config.schedule == "linear") return 1 - progress(step, warmup, total);
  if (config.schedule == "cosine") return 0.5 * (1 + std::cos(std::numbers::pi * progress(step, warmup, total)));
  if (config.schedule == "wsd") return 1 - progress(step, std::max(warmup, total * (1 - config.decay_fraction)), total);
  fail(ErrorKind::kUsage, "optimizer.schedule: \"{}\" is not one of constant, linear, cosine, wsd", config.schedule);
}

}  // namespace

double learning_rate(const OptimizerConfig& config, std::int64_t total_steps, std::int64_t step) {
  const double decay = decay_of(config, static_cast<double>(total_steps), static_cast<double>(step));
  if (step < config.warmup_steps)
    return config.lr * static_cast<double>(std::max<std::int64_t>(step, 0)) / static_cast<double>(config.warmup_steps);
  const double lowest = config.lr * config.min_lr_ratio;
  return lowest + (config.lr - lowest) * decay;
}

}  // namespace longspan
