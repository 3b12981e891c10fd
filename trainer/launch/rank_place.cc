#include "trainer/launch/rank_place.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <unistd.h>

#include "trainer/launch/variables.h"

namespace longspan {
namespace {

std::optional<int> local_rank_of_launcher() {
  for (const char* name : {"LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"})
    if (const std::optional<std::int64_t> value = number_in_variable(name)) return static_cast<int>(*value);
  return std::nullopt;
}

}  // namespace

RankPlace place_of(Communicator& world) {
  if (world.backend() == "local") return {world.rank(), world.size()};
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  const std::vector<std::string> hosts = gather_strings(world, host);
  const auto me = hosts.begin() + world.rank();
  RankPlace place{static_cast<int>(std::count(hosts.begin(), me, *me)),
                  static_cast<int>(std::count(hosts.begin(), hosts.end(), *me))};
  if (const std::optional<int> told = local_rank_of_launcher()) place.local_rank = *told;
  return place;
}

}  // namespace longspan
