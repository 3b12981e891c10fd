#include "parallel/comm/device_ranks.h"

#include <algorithm>
#include <unistd.h>

#include "kernels/core/log.h"
#include "parallel/comm/nccl/nccl_communicator.h"

namespace longspan {
namespace {

bool each_has_its_own(Communicator& world, int ordinal) {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  std::vector<std::string> gpus = gather_strings(world, fmt::format("{} {}", host, ordinal));
  std::sort(gpus.begin(), gpus.end());
  return std::adjacent_find(gpus.begin(), gpus.end()) == gpus.end();
}

}  // namespace

std::unique_ptr<Communicator> make_device_ranks(Communicator& world, DeviceRuntime& runtime, Stream compute,
                                                int ordinal, const CommOptions& options) {
  NcclApi* const nccl = nccl_library();
  if (nccl != nullptr && world.size() > 1 && world.backend() != "local") {
    if (each_has_its_own(world, ordinal)) return make_nccl_communicator(*nccl, world, runtime, compute, options);
    log(LogLevel::kWarning, "ranks share a GPU, which NCCL cannot serve: their messages go over {}", world.backend());
  }
  std::unique_ptr<Communicator> ranks = world.split(0, world.rank());
  ranks->use_device(runtime, compute);
  return ranks;
}

}  // namespace longspan
