// Blocked attention on the CPU: shapes the blocks, spreads them over threads and runs the vector kernels.
#include <memory>
#include <omp.h>
#include <optional>

#include "kernels/cpu/attention/attention_blocks.h"
#include "kernels/cpu/attention/attention_kernels.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/attention_list.h"

namespace longspan::cpu {
namespace {

constexpr std::int64_t kMaxDim = 256;

// Halves the lanes of a block until every thread has several blocks, which even out causal work.
BlockShape shared_shape(const Exec& exec, const AttentionDesc& desc, std::int64_t rows, std::int64_t lanes,
                        std::int64_t key_tile) {
  constexpr std::int64_t kMinLanes = 32, kBlocksPerThread = 4;
  BlockShape shape = block_shape(desc, rows, lanes, key_tile);
  while (lanes > kMinLanes && shape.num_blocks() < kBlocksPerThread * exec.num_threads)
    shape = block_shape(desc, rows, lanes /= 2, key_tile);
  return shape;
}

// More lanes read keys and values less often, but what a thread has packed should stay near its second-level cache,
// half a MiB on small cores.
BlockShape forward_shape(const Exec& exec, const AttentionDesc& desc, std::int64_t rows) {
  const std::int64_t width = std::max(desc.head_dim, desc.value_dim);
  return shared_shape(exec, desc, rows, width > 128 ? 128 : 256, 64);
}

BlockShape backward_shape(const Exec& exec, const AttentionDesc& desc, std::int64_t rows) {
  const std::int64_t width = std::max(desc.head_dim, desc.value_dim);
  const std::int64_t lanes = width > 128 ? 64 : width > 64 ? 128 : 256;
  if (desc.kv_heads % exec.num_threads == 0) return block_shape(desc, rows, lanes, 48);  // threads take whole heads
  return shared_shape(exec, desc, rows, lanes, 48);
}

// One piece of scratch a thread: from the workspace if the caller has one, else from the heap.
class ThreadScratch {
 public:
  ThreadScratch(const Exec& exec, std::int64_t floats) : floats_((floats + 15) / 16 * 16) {
    const std::int64_t total = floats_ * exec.num_threads;
    if (exec.workspace != nullptr) {
      scope_.emplace(*exec.workspace);
      memory_ =
          exec.workspace->allocate("attention scratch", MemoryCategory::kWorkspace, DType::kF32, {total}).get<float>();
    } else {
      std::size_t space = static_cast<std::size_t>(total + 16) * sizeof(float);
      heap_ = std::make_unique_for_overwrite<float[]>(space / sizeof(float));
      void* start = heap_.get();
      memory_ = static_cast<float*>(std::align(64, static_cast<std::size_t>(total) * sizeof(float), start, space));
    }
  }
  float* of_this_thread() const { return memory_ + floats_ * omp_get_thread_num(); }

 private:
  std::int64_t floats_;
  std::optional<Arena::Scope> scope_;
  std::unique_ptr<float[]> heap_;
  float* memory_ = nullptr;
};

class BlockedAttention final : public AttentionOp {
 public:
  std::string_view name() const override { return "cpu blocked"; }

  Refusal why_unsupported(const AttentionDesc& desc) const override {
    if (desc.device != Device::kCpu) return fmt::format("runs on cpu, not on {}", name_of(desc.device));
    if (desc.head_dim > kMaxDim || desc.value_dim > kMaxDim)
      return fmt::format("head sizes up to {}, not {} and {}", kMaxDim, desc.head_dim, desc.value_dim);
    return std::nullopt;
  }

  void forward(const Exec& exec, const AttentionForward& args) const override {
    const std::int64_t rows = args.q.shape[0];
    const BlockShape shape = forward_shape(exec, args.desc, rows);
    const TaskIndex index(args.tasks, shape);
    const ThreadScratch scratch(exec, forward_scratch_floats(shape, args.desc));
    const std::int64_t num_blocks = shape.num_blocks();
#pragma omp parallel for schedule(dynamic, 1) num_threads(exec.num_threads)
    for (std::int64_t i = 0; i < num_blocks; ++i) {
      // Under a causal mask the last rows are the longest work: they go first.
      const std::int64_t b = num_blocks - 1 - i;
      if (index.of(b).empty()) continue;
      forward_block(args, shape, block_at(shape, b, rows), index.of(b), scratch.of_this_thread());
    }
  }

  // Whole key/value heads are dealt out as long as every thread gets one: then nothing is shared and each score is
  // recomputed once. The heads left over are cut, first by rows for dq, then by keys for dk and dv, which recomputes
  // their scores twice.
  void backward(const Exec& exec, const AttentionBackward& args) const override {
    const std::int64_t rows = args.q.shape[0];
    const BlockShape shape = backward_shape(exec, args.desc, rows);
    const TaskIndex index(args.tasks, shape);
    const ThreadScratch scratch(exec, backward_scratch_floats(shape, args.desc));
    const std::int64_t whole_heads = args.desc.kv_heads / exec.num_threads * exec.num_threads;
    const KeyRange all_keys{0, args.k.shape[0]};

#pragma omp parallel for schedule(dynamic, 1) num_threads(exec.num_threads)
    for (std::int64_t head = 0; head < whole_heads; ++head)
      backward_head({args, shape, index}, head, all_keys, BlockGradients::kAll, scratch.of_this_thread());
    if (whole_heads == args.desc.kv_heads) return;

    const std::int64_t num_blocks = shape.num_blocks();
#pragma omp parallel for schedule(dynamic, 1) num_threads(exec.num_threads)
    for (std::int64_t i = 0; i < num_blocks; ++i) {
      const std::int64_t b = num_blocks - 1 - i;
      const Block block = block_at(shape, b, rows);
      if (block.kv_head < whole_heads || index.of(b).empty()) continue;
      backward_block(args, shape, block, index.of(b), all_keys, BlockGradients::kQueryOnly, scratch.of_this_thread());
    }
    const std::int64_t chunk = keys_in_chunk(exec, shape, all_keys.end);
    const std::int64_t chunks = (all_keys.end + chunk - 1) / chunk;
#pragma omp parallel for collapse(2) schedule(dynamic, 1) num_threads(exec.num_threads)
    for (std::int64_t c = 0; c < chunks; ++c)
      for (std::int64_t head = whole_heads; head < args.desc.kv_heads; ++head)
        backward_head({args, shape, index}, head, {c * chunk, std::min((c + 1) * chunk, all_keys.end)},
                      BlockGradients::kKeyValueOnly, scratch.of_this_thread());
  }

 private:
  struct Backward {
    const AttentionBackward& args;
    const BlockShape& shape;
    const TaskIndex& index;
  };

  static void backward_head(const Backward& work, std::int64_t head, KeyRange keys, BlockGradients wanted,
                            float* scratch) {
    const std::int64_t rows = work.args.q.shape[0];
    for (std::int64_t row_block = 0; row_block < work.shape.row_blocks; ++row_block)
      for (std::int64_t part = 0; part < work.shape.head_blocks; ++part) {
        const std::int64_t b = (row_block * work.shape.kv_heads + head) * work.shape.head_blocks + part;
        if (work.index.of(b).empty()) continue;
        backward_block(work.args, work.shape, block_at(work.shape, b, rows), work.index.of(b), keys, wanted, scratch);
      }
  }

  // Several chunks a thread even out causal work; several tiles a chunk pay for packing the lanes again.
  static std::int64_t keys_in_chunk(const Exec& exec, const BlockShape& shape, std::int64_t keys) {
    constexpr std::int64_t kChunksPerThread = 8, kTilesPerChunk = 4;
    const std::int64_t tiles = keys / (exec.num_threads * kChunksPerThread) / shape.key_tile;
    return std::max(tiles, kTilesPerChunk) * shape.key_tile;
  }
};

}  // namespace

const AttentionOp& blocked_attention() {
  static const BlockedAttention op;
  return op;
}

}  // namespace longspan::cpu
