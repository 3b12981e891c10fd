// Scratch of the operators a model calls, from their documented needs.
#include <algorithm>

#include "models/model.h"
#include "models/size_counter.h"

namespace longspan {
namespace {

std::int64_t floats(std::int64_t count) {
  SizeCounter counter;
  counter.allocate("", MemoryCategory::kWorkspace, DType::kF32, {count});
  return counter.used_bytes();
}

}  // namespace

std::int64_t model_workspace_bytes(const ModelConfig& config, DType, std::int64_t tokens, int) {
  const HeadLoss defaults;
  return floats(std::min(tokens, defaults.chunk_tokens) * config.vocab);
}

}  // namespace longspan
