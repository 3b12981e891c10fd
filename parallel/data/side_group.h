// SideGroup: a communicator of the same ranks for one kind of message, whose order then hangs on no other's.
#pragma once

#include <memory>

#include "parallel/comm/communicator.h"
#include "parallel/data/pusher.h"

namespace longspan {

class SideGroup {
 public:
  // Collective. Where all that a rank starts runs in one order anyway, it is `ranks` itself, which outlives this.
  SideGroup(Communicator& ranks, Device device)
      : own_(ranks.size() == 1 || ranks.runs_in_order(device) ? nullptr : ranks.split(0, ranks.rank())),
        used_(own_ ? *own_ : ranks) {}
  Communicator& operator*() const { return used_; }
  Communicator* operator->() const { return &used_; }

 private:
  const std::unique_ptr<Communicator> own_;
  Communicator& used_;
};

// A device's transfers stand on its streams; the host's move while somebody looks.
inline PushedBy pusher_for(const Communicator& ranks, Device device) {
  const bool thread = device == Device::kCpu && ranks.size() > 1 && ranks.takes_another_thread();
  return thread ? PushedBy::kThread : PushedBy::kCaller;
}

}  // namespace longspan
