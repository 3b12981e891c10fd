// AttentionSet: the core attention of each entry of model.pattern for one micro-batch.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/model.h"
#include "trainer/config/config.h"

namespace longspan {

AttentionDesc attention_desc(const ModelConfig& model, const AttentionKind& kind, DType dtype, Device device);
HopFormats hop_formats(const ParallelConfig& parallel);

// Owns one ContextAttention for each distinct (plan, scale) and hands them out in the order of the pattern.
class AttentionSet {
 public:
  // plans: one an entry of model.pattern. Keeps a reference to comm.
  AttentionSet(const ModelConfig& model, DType dtype, Device device,
               std::span<const std::shared_ptr<const ContextPlan>> plans, Communicator& comm,
               const HopFormats& formats);
  AttentionByPattern by_pattern() const { return by_pattern_; }
  std::int64_t workspace_bytes() const;  // of the neediest call in either direction
  double exposed_seconds() const;        // spent waiting for transfers since it was made

 private:
  std::vector<std::unique_ptr<ContextAttention>> owned_;
  std::vector<ContextAttention*> by_pattern_;
};

}  // namespace longspan
