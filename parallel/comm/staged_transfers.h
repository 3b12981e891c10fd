// StagedTransfers: transfers of device memory over a transport that knows the host's memory only.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "parallel/comm/comm_device.h"
#include "parallel/comm/communicator.h"

namespace longspan {

bool any_on_device(std::span<const Send> sends, std::span<const Receive> receives);

// What leaves is copied to pinned memory first, for which the constructor waits: a message must take its place in the
// order of messages before the next is posted. What arrives is copied to its place by the transfers' stream once it is
// here; nobody waits for that but the compute stream. Where messages travel only while a rank looks at them, so do
// these.
class StagedTransfers final : public PendingTransfers {
 public:
  // Posts transfers of host memory.
  using Post = std::function<std::unique_ptr<PendingTransfers>(std::span<const Send>, std::span<const Receive>)>;
  StagedTransfers(std::shared_ptr<CommDevice> device, std::span<const Send> sends, std::span<const Receive> receives,
                  const Post& post);
  ~StagedTransfers() override;
  bool test() override;
  void wait() override;

 private:
  struct Arrival {
    CommDevice::Staging staging;
    void* target;
    std::int64_t num_bytes;
  };
  void take_arrivals();

  const std::shared_ptr<CommDevice> device_;
  std::vector<CommDevice::Staging> departures_;
  std::vector<Arrival> arrivals_;
  std::shared_ptr<DeviceEvent> room_;  // the receives' memory is free for them
  std::unique_ptr<PendingTransfers> inner_;
  std::shared_ptr<DeviceEvent> done_;  // what arrived is in place; set once the inner transfers have ended
};

}  // namespace longspan
