// Processes as ranks over sockets, host memory. For ranks that torchrun started, and beside NCCL.
#pragma once

#include <memory>
#include <vector>

#include "parallel/comm/exchange_communicator.h"
#include "parallel/comm/tcp/tcp_world.h"

namespace longspan {

class TcpCommunicator final : public ExchangeCommunicator {
 public:
  // Of all ranks.
  explicit TcpCommunicator(TcpWorld& world);
  TcpCommunicator(TcpWorld& world, std::uint64_t group, int rank, std::vector<int> world_ranks);

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_ranks_.size()); }
  std::string_view backend() const override { return "tcp"; }
  void abort(const std::string& reason) noexcept override { world_.abort(reason); }
  std::string abort_reason() override;

 protected:
  std::unique_ptr<PendingTransfers> post(Channel channel, std::span<const Send> sends,
                                         std::span<const Receive> receives, std::string_view what) override;
  std::unique_ptr<ExchangeCommunicator> divide(int color, int key) override;

 private:
  TcpWorld& world_;
  const std::uint64_t group_;  // the same on all its ranks, another for every group
  const int rank_;
  const std::vector<int> world_ranks_;
  std::uint64_t num_splits_ = 0;
};

}  // namespace longspan
