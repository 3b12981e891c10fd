// ContextLayer: one rank's share of an attention layer on random inputs, to be run again and again.
#pragma once

#include <cstdint>

#include "parallel/context/executor.h"
#include "trainer/launch/rank_device.h"

namespace longspan {

// One call, as this rank saw it.
struct LayerCallSample {
  double seconds = 0;
  ContextStats stats;
  std::int64_t comm_bytes = 0;  // that the communicator counted
};
struct LayerSample {
  LayerCallSample forward, backward;
};

class ContextLayer {
 public:
  // Room for what attentions like this one take; inputs differ from rank to rank.
  ContextLayer(const ContextAttention& attention, const AttentionDesc& desc, int rank, const RankDevice& device,
               int num_threads);

  // Forward and backward of an attention with the plan of the constructor's. The ranks of comm, whose bytes are
  // counted, begin each together. Collective.
  LayerSample run(ContextAttention& attention, Communicator& comm);

  // What the calls have booked for tokens of other ranks and for what is on its way.
  std::int64_t forward_buffer_bytes() const;
  std::int64_t backward_buffer_bytes() const;

 private:
  Tensor make(std::string_view name, DType dtype, std::int64_t heads, std::int64_t size);

  std::int64_t tokens_;
  const RankDevice& device_;
  int num_threads_;
  Arena operands_, forward_scratch_, backward_scratch_;
  ContextAttention::Forward forward_;
  ContextAttention::Backward backward_;
};

}  // namespace longspan
