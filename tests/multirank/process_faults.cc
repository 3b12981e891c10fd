// A rank that fails in the way its argument names; the last rank is the one that fails, the others wait for it.
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "tests/multirank/rank_bodies.h"
#include "trainer/launch/launch.h"

namespace longspan::testing {
namespace {

void receive_from(Communicator& comm, int peer, std::int64_t num_bytes) {
  std::vector<char> bytes(num_bytes);
  const Receive receive{peer, bytes.data(), num_bytes};
  comm.start({}, {&receive, 1}, "kv of step 3")->wait();
}

void send_to(Communicator& comm, int peer, std::int64_t num_bytes) {
  std::vector<char> bytes(num_bytes);
  const Send send{peer, bytes.data(), num_bytes};
  comm.start({&send, 1}, {}, "kv of step 3")->wait();
}

void fail_as(std::string_view fault, Communicator& world) {
  const int last = world.size() - 1;
  const bool faulty = world.rank() == last;
  world.barrier();
  if (fault == "silent") {
    // Ranks come to wait one after another.
    std::this_thread::sleep_for(std::chrono::milliseconds(150 * world.rank()));
    if (!faulty) receive_from(world, last, 4096);
    if (faulty) receive_from(world, last, 1);
  } else if (fault == "throws") {
    if (faulty) fail(ErrorKind::kData, "tokens.h5: torn");
    world.barrier();
  } else if (fault == "aborts") {
    if (faulty) world.abort("the disk is full");
    world.barrier();
  } else if (fault == "dies") {
    if (faulty) std::raise(SIGKILL);
    world.barrier();
  } else if (fault == "sends_less") {
    if (faulty) send_to(world, 0, 80);
    if (world.rank() == 0) receive_from(world, last, 100);
    world.barrier();
  } else if (fault == "sends_more") {
    if (faulty) send_to(world, 0, 120);
    if (world.rank() == 0) receive_from(world, last, 100);
    world.barrier();
  } else if (fault == "drops") {
    char byte = 0;
    const Receive receive{last, &byte, 1};
    if (faulty) world.start({}, {&receive, 1}, "kv of step 3");
    if (!faulty) world.barrier();
  } else if (fault == "missing") {
    fail(ErrorKind::kInternal, "all ranks came");
  } else {
    throw std::invalid_argument("no such fault");
  }
}

}  // namespace
}  // namespace longspan::testing

// process_faults FAULT [ranks]
int main(int argc, char** argv) {
  const std::string_view fault = argc > 1 ? argv[1] : "";
  const longspan::CommOptions options{.timeout_ms = fault == "silent" ? 200 : fault == "missing" ? 500 : 60'000};
  const int ranks = argc > 2 ? std::atoi(argv[2]) : 0;
  return longspan::run_ranks(ranks, options,
                             [&](longspan::Communicator& world) { longspan::testing::fail_as(fault, world); });
}
