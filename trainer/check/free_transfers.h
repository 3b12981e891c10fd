// FreeTransfers: a communicator whose transfers take no time, because they move nothing.
#pragma once

#include "trainer/check/forwarding_communicator.h"

namespace longspan {

// What is received is whatever lies in the buffers: good for timing what a plan takes apart from communication, and for
// nothing else. Collectives are those of the communicator behind it.
class FreeTransfers final : public ForwardingCommunicator {
 public:
  using ForwardingCommunicator::ForwardingCommunicator;

  std::unique_ptr<PendingTransfers> start(std::span<const Send>, std::span<const Receive>, std::string_view) override {
    return std::make_unique<Done>();
  }

 private:
  struct Done final : PendingTransfers {
    bool test() override { return true; }
    void wait() override {}
  };
};

}  // namespace longspan
