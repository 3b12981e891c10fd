// Fleet: ranks over a NCCL that is none (fake_nccl.h).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parallel/comm/nccl/nccl_communicator.h"
#include "tests/multirank/fake_nccl.h"
#include "tests/multirank/rank_bodies.h"

namespace longspan::testing {

// Ranks as threads, each with a lazy device.
struct Fleet {
  explicit Fleet(int num_ranks) : devices(static_cast<std::size_t>(num_ranks)) {}
  std::vector<LazyDevice> devices;
  FakeNccl::Board board;

  // The body's message where it failed.
  std::string run(std::int64_t timeout_ms, const std::function<void(const DeviceRank&)>& body) {
    const CommOptions options{.timeout_ms = timeout_ms};
    try {
      run_local_ranks(static_cast<int>(devices.size()), options, [&](Communicator& world) {
        LazyDevice& device = devices[static_cast<std::size_t>(world.rank())];
        FakeNccl nccl(board, device);
        const Stream compute = device.make_stream(StreamUse::kCompute);
        const auto comm = make_nccl_communicator(nccl, world, device, compute, options);
        body({*comm, device, compute});
      });
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

}  // namespace longspan::testing
