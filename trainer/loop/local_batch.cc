#include "trainer/loop/local_batch.h"

#include <algorithm>

#include "models/size_counter.h"

namespace longspan {
namespace {

// Every token's position inside its document.
std::vector<std::int32_t> positions_of(const PackedSequence& sequence) {
  std::vector<std::int32_t> positions(sequence.tokens.size());
  for (std::size_t d = 0; d + 1 < sequence.cu_seqlens.size(); ++d)
    for (std::int64_t t = sequence.cu_seqlens[d]; t < sequence.cu_seqlens[d + 1]; ++t)
      positions[static_cast<std::size_t>(t)] = static_cast<std::int32_t>(t - sequence.cu_seqlens[d]);
  return positions;
}

}  // namespace

PackedSequence join(std::span<const PackedSequence> sequences) {
  PackedSequence joined;
  joined.cu_seqlens.push_back(0);
  for (const PackedSequence& s : sequences) {
    const auto offset = static_cast<std::int64_t>(joined.tokens.size());
    LS_CHECK(!s.cu_seqlens.empty() && s.cu_seqlens.back() == static_cast<std::int64_t>(s.tokens.size()),
             "documents of a sequence of {} tokens", s.tokens.size());
    joined.tokens.insert(joined.tokens.end(), s.tokens.begin(), s.tokens.end());
    joined.labels.insert(joined.labels.end(), s.labels.begin(), s.labels.end());
    for (std::size_t d = 1; d < s.cu_seqlens.size(); ++d) joined.cu_seqlens.push_back(offset + s.cu_seqlens[d]);
  }
  return joined;
}

LocalBatch::LocalBatch(const PackedSequence& sequence, std::span<const TokenRun> home) {
  const std::vector<std::int32_t> positions = positions_of(sequence);
  for (const TokenRun& run : home)
    for (std::int64_t i = 0; i < run.count; ++i) {
      const auto t = static_cast<std::size_t>(run.first + i * run.stride);
      LS_CHECK(t < sequence.tokens.size(), "home token {} of {}", t, sequence.tokens.size());
      tokens_.push_back(sequence.tokens[t]);
      labels_.push_back(sequence.labels[t]);
      positions_.push_back(positions[t]);
    }
  num_labels_ = std::count_if(labels_.begin(), labels_.end(), [](std::int32_t label) { return label >= 0; });
}

MicroBatch LocalBatch::batch() {
  const auto count = static_cast<std::int64_t>(tokens_.size());
  return {Tensor(tokens_.data(), DType::kI32, {count}), Tensor(labels_.data(), DType::kI32, {count}),
          Tensor(positions_.data(), DType::kI32, {count})};
}

std::int64_t LocalBatch::device_bytes(std::int64_t tokens) {
  SizeCounter counter;
  for (int i = 0; i < 3; ++i) counter.allocate("", MemoryCategory::kActivations, DType::kI32, {tokens});
  return counter.used_bytes();
}

MicroBatch upload(const Exec& exec, LocalBatch& local, Arena& arena) {
  MicroBatch batch = local.batch();
  if (exec.device == Device::kCpu) return batch;
  for (Tensor* tensor : {&batch.tokens, &batch.labels, &batch.positions}) {
    const Tensor there = arena.allocate("batch", MemoryCategory::kActivations, DType::kI32, {local.num_tokens()});
    exec.runtime->upload(exec.stream, there.data, tensor->data, there.num_bytes());
    *tensor = there;
  }
  return batch;
}

}  // namespace longspan
