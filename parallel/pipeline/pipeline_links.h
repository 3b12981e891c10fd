// PipelineLinks: for each pair of ranks with neighbouring stages, and each way between them, a communicator of their
// own.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/pipeline/stage_traffic.h"

namespace longspan {

// A receive waits in its queue long before its message is sent; whatever else were to come after it there, another
// direction's messages among it, would wait too, in the end for each other. So each has a queue of its own.
class PipelineLinks {
 public:
  // For a schedule, and for any other with its stages. Collective over the pipeline, whose ranks are the schedule's.
  PipelineLinks(Communicator& pipeline, const PipelineSchedule& schedule);

  int rank() const { return rank_; }
  std::unique_ptr<PendingTransfers> send(int to, const Tensor& tensor, std::string_view what);
  std::unique_ptr<PendingTransfers> receive(int from, const Tensor& tensor, std::string_view what);
  std::int64_t bytes_sent() const;

 private:
  int rank_;
  std::vector<std::unique_ptr<Communicator>> links_;  // this rank's, in an order that all ranks share: so they end too
  std::map<int, Communicator*> to_, from_;            // by the other rank; the sender is rank 0
};

}  // namespace longspan
