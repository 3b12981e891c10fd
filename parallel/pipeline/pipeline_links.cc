#include "parallel/pipeline/pipeline_links.h"

#include "kernels/core/error.h"

namespace longspan {

PipelineLinks::PipelineLinks(Communicator& pipeline, const PipelineSchedule& schedule) : rank_(pipeline.rank()) {
  LS_CHECK(pipeline.size() == schedule.ranks, "a schedule of {} ranks on {}", schedule.ranks, pipeline.size());
  for (const RankPair& pair : neighbours_of(schedule)) {
    const bool sends = rank_ == pair.from, receives = rank_ == pair.to;
    const int color = sends || receives ? 0 : 1 + rank_;  // the others stay alone, with nobody to connect to
    std::unique_ptr<Communicator> link = pipeline.split_apart(color, sends ? 0 : 1);
    if (!sends && !receives) continue;
    (sends ? to_[pair.to] : from_[pair.from]) = link.get();
    links_.push_back(std::move(link));
  }
}

std::unique_ptr<PendingTransfers> PipelineLinks::send(int to, const Tensor& tensor, std::string_view what) {
  const Send send{1, tensor.data, tensor.num_bytes(), tensor.device};
  return to_.at(to)->start({&send, 1}, {}, what);
}

std::unique_ptr<PendingTransfers> PipelineLinks::receive(int from, const Tensor& tensor, std::string_view what) {
  const Receive receive{0, tensor.data, tensor.num_bytes(), tensor.device};
  return from_.at(from)->start({}, {&receive, 1}, what);
}

std::int64_t PipelineLinks::bytes_sent() const {
  std::int64_t bytes = 0;
  for (const auto& [peer, link] : to_) bytes += link->bytes_sent();
  return bytes;
}

}  // namespace longspan
