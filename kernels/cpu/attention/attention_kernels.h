// The vectorised inner work of CPU attention: one block of lanes at a time, for the best instruction set at run time.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cpu/attention/attention_blocks.h"
#include "kernels/ops/attention.h"

namespace longspan::cpu {

struct KeyRange {
  std::int64_t begin = 0, end = 0;
};

enum class BlockGradients { kAll, kQueryOnly, kKeyValueOnly };

// Hands out aligned pieces of one thread's scratch, or merely counts them if there is no memory yet.
class ScratchCursor {
 public:
  explicit ScratchCursor(float* memory) : memory_(memory) {}
  float* take(std::int64_t floats) {
    const std::int64_t begin = used_;
    used_ += (floats + 15) / 16 * 16;
    return memory_ == nullptr ? nullptr : memory_ + begin;
  }
  std::int64_t used() const { return used_; }

 private:
  float* memory_;
  std::int64_t used_ = 0;
};

// Floats of scratch one thread needs; scratch is 64-byte aligned and its contents do not matter.
std::int64_t forward_scratch_floats(const BlockShape& shape, const AttentionDesc& desc);
std::int64_t backward_scratch_floats(const BlockShape& shape, const AttentionDesc& desc);

// Merges the tasks' part of the block's rows into args.out and args.lse.
void forward_block(const AttentionForward& args, const BlockShape& shape, const Block& block,
                   std::span<const std::int32_t> tasks, float* scratch);

// Adds the block's share of the gradients named by `wanted` over the keys in `keys`.
void backward_block(const AttentionBackward& args, const BlockShape& shape, const Block& block,
                    std::span<const std::int32_t> tasks, KeyRange keys, BlockGradients wanted, float* scratch);

}  // namespace longspan::cpu
