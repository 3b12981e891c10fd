// What one rank puts through attention for the parity probe, and what comes out. A token's inputs depend on the seed
// and the token alone, so that every layout of the same batch has the same.
#pragma once

#include <list>

#include "kernels/core/host_copy.h"
#include "trainer/loop/parity_probe.h"

namespace longspan {

// Shapes as in ContextAttention. sink and dsink only where the layer has a sink; dsink is the sum over the ranks.
struct AttentionRows {
  Tensor q, k, v, dout, sink;
  Tensor out, lse, dq, dk, dv, dsink;
};

// Heads times their size: elements of a row.
std::int64_t width_of(const Tensor& rows);

// Standard deviation of the queries: scores have unit variance whatever the scale, so that softmax is neither flat nor
// a choice of one key. Everything else has unit variance itself.
double query_stddev(const AttentionDesc& desc);

class ParityRows {
 public:
  // Keeps references. The plan may be another than the case's, over the same documents.
  ParityRows(const ParityCase& c, std::shared_ptr<const ContextPlan> plan, Communicator& comm,
             const RankDevice& device);
  // Both directions, once, on the device. Collective over comm; the rows are in host memory, and live as long as this.
  const AttentionRows& run();

 private:
  std::int64_t arena_bytes() const;
  Tensor make(std::string_view name, std::int64_t heads, std::int64_t size);
  void allocate();
  void fill(const Exec& exec);
  void bring_home(const Exec& exec);

  const ParityCase& case_;
  const std::shared_ptr<const ContextPlan> plan_;
  Communicator& comm_;
  const RankDevice& device_;
  const std::int64_t tokens_;  // of this rank
  Arena arena_;
  AttentionRows rows_;
  std::list<HostCopy> copies_;
};

}  // namespace longspan
