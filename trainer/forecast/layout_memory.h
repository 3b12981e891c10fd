// Layout memory: what the neediest rank of a layout takes, asked for many layouts of one experiment.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>

#include "trainer/forecast/layout_choices.h"
#include "trainer/loop/memory_budget.h"

namespace longspan {

class LayoutMemory {
 public:
  // Of config nothing counts that a LayoutChoice sets.
  LayoutMemory(const Config& config, int num_threads, int ranks_per_node, Device device);

  // As predict_memory has it, of the rank of each place in the pipeline that is the first of its replicas.
  std::int64_t most_bytes(const LayoutChoice& choice, const ParallelLayout& layout, const AttentionNeed& attention);
  // No more than that; of a layout whose schedule has no operations, and quick.
  std::int64_t least_bytes(const LayoutChoice& choice, const ParallelLayout& outline, const AttentionNeed& attention);

 private:
  using StageKey =
      std::tuple<std::int64_t, std::int64_t, bool, bool, Recompute, std::int64_t, std::int64_t, BackwardKind>;
  std::int64_t kept_by(const LayoutChoice& choice, const StageSpan& stage, std::int64_t tokens, BackwardKind backward);
  std::int64_t weights_of(const LayoutChoice& choice, const ParallelLayout& outline, int place);

  Config config_;
  int num_threads_, ranks_per_node_;
  Device device_;
  std::map<StageKey, std::int64_t> kept_;
  std::map<std::tuple<std::string, int, int, int, std::int64_t>, std::int64_t> weights_;
  std::map<std::tuple<std::string, int, int>, ScheduleOutline> outlines_;
};

}  // namespace longspan
