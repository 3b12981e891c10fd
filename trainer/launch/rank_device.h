// RankDevice: what a rank computes on, the host or a GPU, and why.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "kernels/core/exec.h"
#include "trainer/launch/rank_place.h"

namespace longspan {

struct DeviceChoice {
  Device device = Device::kCpu;
  std::string why;        // a clause: "auto: built without CUDA"
  int num_gpus = 0;       // usable ones, where device is kCuda
  bool emulated = false;  // kernels for GPUs run by this process, to test them
};

// What "auto", "cpu" or "cuda" means in this process. auto takes a GPU where this build has kernels for one, and no
// emulated one. Throws for "cuda" without one: Error(kUnsupported) where CUDA is not built, else Error(kEnvironment)
// with the driver's reason.
DeviceChoice choose_device(std::string_view wanted);

// Has CUDA load all kernels when it starts, instead of each at its first use (CUDA_MODULE_LOADING, where nobody has set
// it). For ranks whose GPUs hold receives long before the messages are sent: loading may wait until a GPU is idle, thus
// for messages that are not sent before the rank goes on. To be called before anything else here.
void load_kernels_at_start();

// One a rank, and current for the thread that makes it. Outlives all that was allocated from it.
class RankDevice {
 public:
  RankDevice() = default;  // the host
  RankDevice(const DeviceChoice& choice, const RankPlace& place);
  ~RankDevice();
  RankDevice(const RankDevice&) = delete;
  RankDevice& operator=(const RankDevice&) = delete;

  Device device() const { return runtime_->device(); }
  DeviceRuntime& runtime() const { return *runtime_; }
  Stream stream() const { return stream_; }
  // With what operators of this rank run.
  Exec exec(int num_threads, Arena* workspace) const {
    return {
        .device = device(), .num_threads = num_threads, .workspace = workspace, .runtime = runtime_, .stream = stream_};
  }
  std::string name() const;                 // "cpu", or the GPU's
  int ordinal() const { return ordinal_; }  // of the GPU among those of the host that this build can use

 private:
  std::unique_ptr<DeviceRuntime> own_;
  DeviceRuntime* runtime_ = &host_runtime();
  Stream stream_;
  int ordinal_ = 0;
};

// The world's communicator as a rank that computes on a device uses it: with the device's memory. Destroyed before the
// device; on the host it is the world itself.
class DeviceWorld {
 public:
  // Over NCCL where it is built and processes have a GPU each. Collective.
  DeviceWorld(Communicator& world, const RankDevice& device, const CommOptions& options = {});
  Communicator& comm() const { return own_ ? *own_ : world_; }

 private:
  Communicator& world_;
  std::unique_ptr<Communicator> own_;
};

// The host.
const RankDevice& host_device();

// "cuda, NVIDIA H200, because …": one line for people.
std::string describe(const DeviceChoice& choice, const RankDevice& device);

}  // namespace longspan
