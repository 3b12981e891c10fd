#include "trainer/launch/rank_device.h"

#include <cstdlib>

#include "kernels/cuda/device.h"
#include "kernels/cuda/device_query.h"
#include "parallel/comm/device_ranks.h"

namespace longspan {
namespace {

constexpr std::string_view kNotBuilt = "built without CUDA";
constexpr std::string_view kEmulatedPrefix = "emulated";

}  // namespace

DeviceChoice choose_device(std::string_view wanted) {
  if (wanted == "cpu") return {.why = "asked for"};
  LS_CHECK(wanted == "auto" || wanted == "cuda", "device {}", wanted);
  const CudaDevices gpus = query_cuda_devices();
  const bool emulated = !gpus.names.empty() && gpus.names.front().starts_with(kEmulatedPrefix);
  if (wanted == "cuda") {
    if (!gpus.names.empty()) return {Device::kCuda, "asked for", static_cast<int>(gpus.names.size()), emulated};
    fail(gpus.why_none == kNotBuilt ? ErrorKind::kUnsupported : ErrorKind::kEnvironment,
         "device cuda: there is no GPU to compute on ({}); set run.device: auto or cpu (--device cpu)", gpus.why_none);
  }
  if (gpus.names.empty()) return {.why = fmt::format("auto: {}", gpus.why_none)};
  if (emulated) return {.why = "auto: this build emulates its GPU, for tests"};
  return {Device::kCuda, "auto: a GPU is there", static_cast<int>(gpus.names.size()), false};
}

void load_kernels_at_start() {
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
}

RankDevice::RankDevice(const DeviceChoice& choice, const RankPlace& place) {
  if (choice.device == Device::kCpu) return;
  ordinal_ = place.gpu_ordinal(choice.num_gpus);
  own_ = make_device_runtime(ordinal_);
  runtime_ = own_.get();
  stream_ = runtime_->make_stream(StreamUse::kCompute);
}

RankDevice::~RankDevice() {
  if (own_) own_->destroy(stream_);
}

std::string RankDevice::name() const {
  return device() == Device::kCpu ? "cpu" : runtime_->name();
}

DeviceWorld::DeviceWorld(Communicator& world, const RankDevice& device, const CommOptions& options) : world_(world) {
  if (device.device() == Device::kCpu) return;
  own_ = make_device_ranks(world, device.runtime(), device.stream(), device.ordinal(), options);
}

const RankDevice& host_device() {
  static const RankDevice device;
  return device;
}

std::string describe(const DeviceChoice& choice, const RankDevice& device) {
  if (choice.device == Device::kCpu) return fmt::format("cpu ({})", choice.why);
  return fmt::format("cuda ({}), {}, {} on this host", choice.why, device.name(), choice.num_gpus);
}

}  // namespace longspan
