#include "parallel/context/task_chunks.h"

#include <algorithm>

namespace longspan {
namespace {

constexpr std::int64_t kGrain = 64;  // queries and keys are cut at multiples of this, which kernels like

std::int64_t middle_of(std::int64_t begin, std::int64_t end) {
  return begin + (end - begin) / 2 / kGrain * kGrain;
}

class Chunker {
 public:
  explicit Chunker(std::int64_t max_pairs) : max_pairs_(max_pairs) {}

  void add(const AttentionTask& task) {
    const std::int64_t pairs = count_pairs(task);
    if (pairs == 0) return;
    AttentionTask first = task, second = task;
    if (pairs <= max_pairs_) {
      emit(task, pairs);
      return;
    }
    if (task.head_end - task.head_begin > 1) {
      first.head_end = second.head_begin = (task.head_begin + task.head_end) / 2;
    } else if (task.q_end - task.q_begin >= std::max(task.kv_end - task.kv_begin, 2 * kGrain)) {
      first.q_end = second.q_begin = middle_of(task.q_begin, task.q_end);
      shift(second.band, second.q_begin - task.q_begin);
    } else if (task.kv_end - task.kv_begin >= 2 * kGrain) {
      first.kv_end = second.kv_begin = middle_of(task.kv_begin, task.kv_end);
      shift(second.band, task.kv_begin - second.kv_begin);
    } else {
      emit(task, pairs);
      return;
    }
    add(first);
    add(second);
  }

  std::vector<std::vector<AttentionTask>> take() { return std::move(chunks_); }

 private:
  static void shift(Band& band, std::int64_t by) {
    if (band.lo != Band::kUnboundedLow) band.lo += by;
    if (band.hi != Band::kUnboundedHigh) band.hi += by;
  }

  void emit(const AttentionTask& task, std::int64_t pairs) {
    if (chunks_.empty() || pairs_ + pairs > max_pairs_) {
      chunks_.emplace_back();
      pairs_ = 0;
    }
    chunks_.back().push_back(task);
    pairs_ += pairs;
  }

  const std::int64_t max_pairs_;
  std::vector<std::vector<AttentionTask>> chunks_;
  std::int64_t pairs_ = 0;  // in the last chunk
};

}  // namespace

std::vector<std::vector<AttentionTask>> chunk_tasks(std::span<const AttentionTask> tasks, std::int64_t max_pairs) {
  Chunker chunker(max_pairs);
  for (const AttentionTask& task : tasks) chunker.add(task);
  return chunker.take();
}

}  // namespace longspan
