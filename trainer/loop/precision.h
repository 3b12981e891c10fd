// The element type that a run's precision names.
#pragma once

#include "kernels/core/dtype.h"
#include "trainer/config/config.h"

namespace longspan {

inline DType precision_of(const RunConfig& run) {
  return run.precision == "bf16" ? DType::kBF16 : DType::kF32;
}

}  // namespace longspan
