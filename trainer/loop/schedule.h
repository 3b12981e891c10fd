// Learning-rate schedules: pure functions of the step.
#pragma once

#include <cstdint>

#include "trainer/config/config.h"

namespace longspan {

// The learning rate of `step` (counted from 1) in a run of total_steps: rises linearly to lr over warmup_steps, then
//   constant: stays at lr
//   linear, cosine: falls to min_lr_ratio * lr at total_steps
//   wsd: stays, and falls linearly to min_lr_ratio * lr over the last decay_fraction of the steps.
// Past total_steps it keeps its last value. Throws Error(kUsage) listing the names there are.
double learning_rate(const OptimizerConfig& config, std::int64_t total_steps, std::int64_t step);

}  // namespace longspan
