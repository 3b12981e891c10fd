#include "kernels/cuda/attention/document_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace longspan::cuda {
namespace {

// A band over a square of that many rows: everything, the lower triangle, or neither.
std::optional<DocumentBatch::Mask> mask_of(const Band& band, std::int64_t length) {
  if (band.lo > 1 - length) return {};
  if (band.hi >= length - 1) return DocumentBatch::Mask::kFull;
  if (band.hi == 0) return DocumentBatch::Mask::kCausal;
  return {};
}

}  // namespace

std::variant<DocumentBatch, std::string> read_document_batch(std::span<const AttentionTask> tasks, std::int64_t rows,
                                                             std::int64_t keys, std::int64_t heads) {
  if (rows != keys) return fmt::format("{} rows and {} keys are no square", rows, keys);
  std::vector<AttentionTask> documents;
  for (const AttentionTask& task : tasks)
    if (task.q_begin < task.q_end) documents.push_back(task);
  std::sort(documents.begin(), documents.end(),
            [](const AttentionTask& a, const AttentionTask& b) { return a.q_begin < b.q_begin; });
  DocumentBatch batch;
  std::optional<DocumentBatch::Mask> mask;
  std::int64_t row = 0;
  for (const AttentionTask& task : documents) {
    const std::int64_t length = task.q_end - task.q_begin;
    if (task.q_begin != row) return fmt::format("row {} is in no task, or in several", std::min(row, task.q_begin));
    if (task.kv_begin != task.q_begin || task.kv_end != task.q_end)
      return fmt::format("queries {}..{} see keys {}..{}, which is no square on the diagonal", task.q_begin, task.q_end,
                         task.kv_begin, task.kv_end);
    if (task.head_begin != 0 || task.head_end != heads)
      return fmt::format("a task has heads {}..{} of {}", task.head_begin, task.head_end, heads);
    const auto its_mask = mask_of(task.band, length);
    if (!its_mask) return fmt::format("a band {}..{} is neither causal nor full", task.band.lo, task.band.hi);
    if (batch.documents > 0 && length != batch.length)
      return fmt::format("documents of {} and {} tokens", batch.length, length);
    // One token is causal and full alike: the others say which.
    if (length > 1 && mask && *mask != *its_mask) return "some documents are causal, some are not";
    if (length > 1 || !mask) mask = its_mask;
    batch.length = length;
    ++batch.documents;
    row = task.q_end;
  }
  if (row != rows) return fmt::format("row {} is in no task", row);
  if (batch.documents == 0) return "there are no rows";
  batch.mask = *mask;
  return batch;
}

}  // namespace longspan::cuda
