// DocumentBatch: a list of tasks read as what libraries of attention know: documents of one length, causal or full.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "kernels/ops/attention.h"

namespace longspan::cuda {

struct DocumentBatch {
  std::int64_t documents = 0;
  std::int64_t length = 0;
  enum class Mask : std::uint8_t { kCausal, kFull } mask = Mask::kCausal;
  bool operator==(const DocumentBatch&) const = default;
};

// The batch that `tasks` are, over all `rows` rows, as many keys and all heads; or why they are none. Each document
// must be one task: a square on the diagonal. Tasks that see nothing because they are empty count for nothing.
std::variant<DocumentBatch, std::string> read_document_batch(std::span<const AttentionTask> tasks, std::int64_t rows,
                                                             std::int64_t keys, std::int64_t heads);

}  // namespace longspan::cuda
