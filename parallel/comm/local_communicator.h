// LocalCommunicator: one thread's place in a group of threads that act as ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "parallel/comm/exchange_communicator.h"
#include "parallel/comm/local_transfers.h"

namespace longspan {

class LocalCommunicator final : public ExchangeCommunicator {
 public:
  // The group is shared by the communicators of its ranks.
  LocalCommunicator(std::shared_ptr<LocalGroup> group, int rank) : group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }
  std::string_view backend() const override { return "local"; }
  void abort(const std::string& reason) noexcept override;
  std::string abort_reason() override;

 protected:
  std::unique_ptr<ExchangeCommunicator> divide(int color, int key) override;
  bool moves_device_memory() const override { return true; }
  std::unique_ptr<PendingTransfers> post(Channel channel, std::span<const Send> sends,
                                         std::span<const Receive> receives, std::string_view what) override;

 private:
  std::shared_ptr<LocalGroup> group_;
  int rank_;
  std::int64_t num_splits_ = 0;
};

}  // namespace longspan
