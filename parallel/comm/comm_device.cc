#include "parallel/comm/comm_device.h"

#include <algorithm>

#include "kernels/core/error.h"
#include "kernels/core/log.h"

namespace longspan {
namespace {

// Sizes are rounded up, so that messages of about one size share their memory.
std::int64_t rounded_up(std::int64_t num_bytes) {
  std::int64_t rounded = std::int64_t{64} << 10;
  while (rounded < num_bytes) rounded += rounded / 2;
  return rounded;
}

}  // namespace

CommDevice::CommDevice(DeviceRuntime& runtime, Stream compute)
    : runtime_(runtime), compute_(compute), transfers_(runtime.make_stream(StreamUse::kTransfers)) {}

CommDevice::~CommDevice() {
  try {
    runtime_.synchronize(transfers_);
    runtime_.synchronize(compute_);
  } catch (const std::exception& error) {
    log(LogLevel::kWarning, "at the end of communication: {}", error.what());
  }
  for (const Staging& staging : all_) runtime_.release_pinned(staging.memory, staging.num_bytes);
  runtime_.destroy(transfers_);
}

std::shared_ptr<DeviceEvent> CommDevice::mark(Stream stream) const {
  std::shared_ptr<DeviceEvent> event = runtime_.make_event(EventTiming::kOff);
  event->record(stream);
  return event;
}

CommDevice::Staging CommDevice::take(std::int64_t num_bytes) {
  const std::int64_t size = rounded_up(num_bytes);
  const auto spare = std::find_if(spares_.begin(), spares_.end(), [&](const Spare& s) {
    return s.staging.num_bytes >= num_bytes && s.staging.num_bytes <= 2 * size &&
           (s.last_use == nullptr || s.last_use->is_reached());
  });
  if (spare != spares_.end()) {
    const Staging staging = spare->staging;
    spares_.erase(spare);
    return staging;
  }
  void* memory = runtime_.allocate_pinned(size);
  LS_REQUIRE(kMemory, memory != nullptr,
             "{} refuses {:.1f} MiB of pinned memory for messages on the way; use a shorter sequence or more ranks",
             runtime_.name(), static_cast<double>(size) / (1 << 20));
  all_.push_back({static_cast<std::byte*>(memory), size});
  return all_.back();
}

void CommDevice::give_back(const Staging& staging, std::shared_ptr<DeviceEvent> last_use) {
  spares_.push_back({staging, std::move(last_use)});
}

}  // namespace longspan
