// Every rank body on processes as ranks. Usage: process_bodies BACKEND [max_message_bytes]
#include <cstdlib>

#include "tests/multirank/rank_bodies.h"
#include "tests/parallel/data_bodies.h"
#include "tests/parallel/lazy_device.h"
#include "trainer/launch/launch.h"

namespace longspan::testing {
namespace {

int run(std::string_view backend, const CommOptions& options) {
  int num_run = 0;
  int rank = 0;
  const int code = run_ranks(0, options, [&](Communicator& world) {
    LS_REQUIRE(kInternal, world.backend() == backend, "started over {}", world.backend());
    rank = world.rank();
    for (const auto bodies : {collective_bodies(), transfer_bodies()}) {
      for (const RankBody& body : bodies) {
        const auto fresh = world.split(0, world.rank());
        try {
          body.run(*fresh);
        } catch (const Error& error) {
          fail(error.kind(), "{}: {}", body.name, error.what());
        }
        ++num_run;
      }
    }
    for (const auto bodies : {reduction_bodies(), gather_bodies()}) {
      for (const DataBody& body : bodies) {
        const auto fresh = world.split(0, world.rank());
        try {
          body.run({*fresh, {}});
        } catch (const Error& error) {
          fail(error.kind(), "{}: {}", body.name, error.what());
        }
        ++num_run;
      }
    }
    LazyDevice device;
    for (const DeviceBody& body : device_bodies()) {
      try {
        run_on_device(world, device, body);
      } catch (const Error& error) {
        fail(error.kind(), "{}: {}", body.name, error.what());
      }
      ++num_run;
    }
  });
  if (rank == 0) fmt::print("{} bodies run, exit code {}\n", num_run, code);
  return code;
}

}  // namespace
}  // namespace longspan::testing

int main(int argc, char** argv) {
  longspan::CommOptions options{.timeout_ms = 60'000};
  if (argc > 2) options.max_message_bytes = std::atoll(argv[2]);
  return longspan::testing::run(argc > 1 ? argv[1] : "", options);
}
