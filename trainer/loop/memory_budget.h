// MemoryBudget: the peak memory of a rank, known before anything runs, and the longest sequence a budget holds.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parallel/context/context_plan.h"
#include "trainer/config/config.h"
#include "trainer/loop/pass_bytes.h"

namespace longspan {

// Bytes of one rank at its worst moment of a step whose sequences are one document each. On a GPU they are of its
// memory, but for the last two, which are pinned memory of the host.
struct MemoryBudget {
  Device device = Device::kCpu;
  std::int64_t weights = 0;  // master weights and, in bf16, their compute copies
  std::int64_t gradients = 0;
  std::int64_t reduction = 0;  // of gradients on their way to be summed
  std::int64_t optimizer = 0;
  std::int64_t activations = 0;  // of all micro-batches that may be on their way at once
  std::int64_t hand_over = 0;    // of activations and their gradients between the stages of a pipeline
  std::int64_t attention = 0;    // buffers of transfers and partials of the core attention
  std::int64_t workspace = 0;    // scratch of the model's operators
  // Rank 0: what is being written while training goes on, with checkpoint.async, and always where it comes from a GPU.
  std::int64_t snapshot = 0;
  std::int64_t offloaded = 0;  // model.offload: activations that wait for backward
  PassBytes passes;            // activations, hand_over, attention and workspace once more, arena by arena
  // Of the memory that the rank computes in.
  std::int64_t total() const {
    const std::int64_t computes =
        weights + gradients + reduction + optimizer + activations + hand_over + attention + workspace;
    return device == Device::kCpu ? computes + snapshot : computes;
  }
  std::int64_t host_total() const { return device == Device::kCpu ? total() : snapshot + offloaded; }
};

// Ranks of one host: where they stand, and how many OpenMP threads each uses.
struct HostRanks {
  ParallelLayout layout;
  std::vector<int> ranks;
  int num_threads = 1;
  int ranks_per_node = 0;  // 0: all on one
  Device device = Device::kCpu;
};

// One for each of host.ranks.
std::vector<MemoryBudget> predict_memory(const Config& config, const HostRanks& host);

// What a context group's rank has of the largest micro-batch, and what its core attention needs.
struct AttentionNeed {
  std::int64_t tokens = 0, bytes = 0;
};
// plans: one an entry of model.pattern.
AttentionNeed attention_need(const Config& config, Device device,
                             std::span<const std::shared_ptr<const ContextPlan>> plans, int context_rank);
// Of one rank whose attention is known; host.ranks is not looked at.
MemoryBudget predict_memory(const Config& config, const HostRanks& host, int rank, const AttentionNeed& attention);
std::int64_t total_bytes(const std::vector<MemoryBudget>& budgets);
std::int64_t total_host_bytes(const std::vector<MemoryBudget>& budgets);

// The longest data.sequence_length, a multiple of 64, with which all of host.ranks fit into num_bytes of the memory
// that they compute in; 0: not even 64.
std::int64_t longest_sequence_that_fits(const Config& config, const HostRanks& host, std::int64_t num_bytes);

// Physical memory of this host, or the limit of the control group this process runs in where that is lower.
std::int64_t host_memory_bytes();
// The most memory this process has held so far; 0 where the system does not say.
std::int64_t process_peak_bytes();

// "weights 1.2 MiB, …, total 45.6 MiB".
std::string describe(const MemoryBudget& budget);

}  // namespace longspan
