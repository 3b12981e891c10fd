#include "parallel/comm/staged_transfers.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace longspan {

bool any_on_device(std::span<const Send> sends, std::span<const Receive> receives) {
  const auto on_device = [](const auto& transfer) { return transfer.device != Device::kCpu; };
  return std::any_of(sends.begin(), sends.end(), on_device) || std::any_of(receives.begin(), receives.end(), on_device);
}

StagedTransfers::StagedTransfers(std::shared_ptr<CommDevice> device, std::span<const Send> sends,
                                 std::span<const Receive> receives, const Post& post)
    : device_(std::move(device)) {
  room_ = device_->mark(device_->compute());
  room_->hold_back(device_->transfers());
  std::vector<Send> outgoing(sends.begin(), sends.end());
  std::vector<Receive> incoming(receives.begin(), receives.end());
  for (Send& send : outgoing) {
    if (send.device == Device::kCpu || send.num_bytes == 0) continue;
    departures_.push_back(device_->take(send.num_bytes));
    device_->runtime().copy(device_->transfers(), departures_.back().memory, send.data, send.num_bytes);
    send.data = departures_.back().memory;
  }
  for (Receive& receive : incoming) {
    if (receive.device == Device::kCpu || receive.num_bytes == 0) continue;
    arrivals_.push_back({device_->take(receive.num_bytes), receive.data, receive.num_bytes});
    receive.data = arrivals_.back().staging.memory;
  }
  for (Send& send : outgoing) send.device = Device::kCpu;
  for (Receive& receive : incoming) receive.device = Device::kCpu;
  if (!departures_.empty()) device_->mark(device_->transfers())->wait();
  inner_ = post(outgoing, incoming);
}

StagedTransfers::~StagedTransfers() {
  // Where the inner transfers never ended the world does: the staging stays taken, nothing may be put there again.
  if (!done_) return;
  for (const CommDevice::Staging& departure : departures_) device_->give_back(departure);
  for (const Arrival& arrival : arrivals_) device_->give_back(arrival.staging, done_);
}

void StagedTransfers::take_arrivals() {
  for (const Arrival& arrival : arrivals_)
    device_->runtime().copy(device_->transfers(), arrival.target, arrival.staging.memory, arrival.num_bytes);
  done_ = device_->mark(device_->transfers());
}

bool StagedTransfers::test() {
  if (!inner_->test()) return false;
  if (!done_) take_arrivals();
  return done_->is_reached();
}

void StagedTransfers::wait() {
  inner_->wait();
  if (!done_) take_arrivals();
  done_->hold_back(device_->compute());
}

}  // namespace longspan
