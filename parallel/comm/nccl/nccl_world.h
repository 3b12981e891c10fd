// NcclWorld: what a rank's NCCL communicators share: the library, one stream, what is under way, and who watches it.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parallel/comm/comm_device.h"
#include "parallel/comm/nccl/nccl_api.h"
#include "parallel/comm/patience.h"

namespace longspan {

// Communicators of a rank queue on one stream, from the rank's one thread, in the order of the program. Ranks run the
// same program, so no two of them can wait for each other's later work. Those that were split apart have streams of
// their own. A thread of its own watches: when a transfer takes longer than the deadline, NCCL reports a failure, or
// another rank has aborted, it ends all communicators, which also ends what runs on the device, so that whoever waits
// for the device comes back.
class NcclWorld {
 public:
  // Keeps references; host is the communicator of all ranks.
  NcclWorld(NcclApi& api, Communicator& host, DeviceRuntime& runtime, Stream compute, const CommOptions& options);
  // All communicators have left.
  ~NcclWorld();
  NcclWorld(const NcclWorld&) = delete;
  NcclWorld& operator=(const NcclWorld&) = delete;

  NcclApi& api() { return api_; }
  CommDevice& device() { return device_; }

  // A stream for a communicator of its own, until it is closed.
  Stream open_queue() { return device_.runtime().make_stream(StreamUse::kTransfers); }
  void close_queue(Stream queue) noexcept;

  // One group of calls on comm in a queue, held back until what the compute stream holds now is done. The mark behind
  // it; `what` describes it in errors. Waits until NCCL has queued it.
  using Calls = std::function<void(Stream)>;
  std::shared_ptr<DeviceEvent> queue(NcclHandle comm, Stream stream, const std::string& what, const Calls& calls);
  // Begins a communicator, and waits until all its ranks have come.
  NcclHandle open(const std::string& what, const std::function<NcclHandle()>& begin);
  void close(NcclHandle comm) noexcept;

  // Null, with `why`, where NCCL refuses. What used it is done when it goes.
  void* register_memory(void* data, std::int64_t num_bytes, NcclHandle comm, std::string& why);
  void deregister_memory(void* registration, NcclHandle comm) noexcept;
  // To the log, the first time.
  void tell_of_refusal(const std::string& why);

  // The first reason counts.
  void abort(const std::string& reason) noexcept;
  // The same on this rank, which fails and is about to tell the others why.
  void end(const std::string& reason) noexcept;
  void throw_if_aborted(const std::string& what) const;

 private:
  struct Pending {
    std::shared_ptr<DeviceEvent> ready, done;
    std::string what;
    bool begun = false;
    Patience patience;
  };
  void watch();
  void look();
  std::string fault_of_pending();
  std::string fault_of_first(std::list<Pending>& pending);
  std::string what_is_pending() const;
  void settle(NcclHandle comm, const std::string& what);

  NcclApi& api_;
  Communicator& host_;
  const CommOptions options_;
  CommDevice device_;
  mutable std::mutex mutex_;  // of the library and of all below
  std::vector<NcclHandle> comms_;
  std::map<void*, std::list<Pending>> pending_;  // by stream, each in its order
  bool aborted_ = false;
  bool told_of_refusal_ = false;
  std::string reason_;
  std::jthread watcher_;
};

}  // namespace longspan
