#include "trainer/launch/launch.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <optional>
#include <sched.h>
#include <string_view>
#include <thread>
#include <unistd.h>

#include "trainer/launch/variables.h"

namespace longspan {
namespace {

int exit_code_of(const std::exception& error) {
  if (const auto* ours = dynamic_cast<const Error*>(&error)) return exit_code_of(ours->kind());
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ? kExitMemory : kExitInternal;
}

int report(const std::exception& error, std::string_view rank_prefix) {
  fmt::print(stderr, "longspan: error: {}{}\n", rank_prefix, error.what());
  std::fflush(stderr);
  return exit_code_of(error);
}

int run_under_mpi(int ranks, const CommOptions& options, const std::function<void(Communicator&)>& body) {
  int rank = 0;
  int size = 1;
  const auto checked_body = [&](Communicator& world) {
    rank = world.rank();
    size = world.size();
    LS_REQUIRE(kUsage, ranks == 0 || ranks == size,
               "--ranks {}, but the MPI launcher started {} ranks; leave --ranks out under a launcher", ranks, size);
    body(world);
  };
  const auto report_rank = [&](const std::exception& error) {
    // Ranks often fail together, for the same reason. The lowest speaks at once, and its abort ends the others before
    // their turn. Not so after a wait that was given up: what each rank waited for is its own to say.
    const auto* ours = dynamic_cast<const Error*>(&error);
    if (ours == nullptr || ours->kind() != ErrorKind::kAborted) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100) * std::min(rank, 10));
    }
    return report(error, size > 1 ? fmt::format("rank {}: ", rank) : "");
  };
  return run_mpi_rank(options, checked_body, report_rank);
}

// Where torchrun's variables say this process stands; absent unless it started several.
std::optional<TcpPlace> place_from_torchrun() {
  const std::optional<std::int64_t> rank = number_in_variable("RANK"), size = number_in_variable("WORLD_SIZE");
  if (!rank || !size || *size <= 1) return std::nullopt;
  // A launcher of MPI may have started torchrun itself, and its variables come down to us too.
  if (launched_by_mpi() && std::getenv("TORCHELASTIC_RUN_ID") == nullptr) return std::nullopt;
  const char* address = std::getenv("MASTER_ADDR");
  const std::optional<std::int64_t> port = number_in_variable("MASTER_PORT");
  LS_REQUIRE(
      kUsage, address != nullptr && port && *port < 65536,
      "RANK and WORLD_SIZE are set, but MASTER_ADDR or MASTER_PORT is not; they name the host of rank 0 and a free "
      "port on it");
  // Newer agents of torchrun listen on MASTER_PORT themselves, for PyTorch's sake: ranks take the port beside it.
  const char* agent_listens = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  const bool taken = agent_listens != nullptr && std::string_view(agent_listens) == "True";
  const std::int64_t our_port = !taken ? *port : *port < 65535 ? *port + 1 : *port - 1;
  return TcpPlace{static_cast<int>(*rank), static_cast<int>(*size), address, static_cast<int>(our_port)};
}

int run_under_torchrun(const TcpPlace& place, int ranks, const CommOptions& options,
                       const std::function<void(Communicator&)>& body) {
  try {
    LS_REQUIRE(kUsage, ranks == 0 || ranks == place.size,
               "--ranks {}, but the launcher started {} ranks (WORLD_SIZE); leave --ranks out under a launcher", ranks,
               place.size);
    run_tcp_rank(place, options, body);
    return kExitOk;
  } catch (const std::exception& error) {
    return report(error, fmt::format("rank {}: ", place.rank));
  } catch (...) {
    return report(Error(ErrorKind::kInternal, "an exception of unknown type"), fmt::format("rank {}: ", place.rank));
  }
}

// This rank's host and the cores it may run on: "name 0 1 5".
std::string describe_cores() {
  std::string text = host_name();
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return text;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &cores)) text += fmt::format(" {}", core);
  }
  return text;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

}  // namespace

int exit_code_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage: return kExitUsage;
    case ErrorKind::kData: return kExitData;
    case ErrorKind::kMemory: return kExitMemory;
    case ErrorKind::kEnvironment: return kExitEnvironment;
    case ErrorKind::kAborted: return kExitAborted;
    case ErrorKind::kUnsupported: return kExitUnsupported;
    case ErrorKind::kInternal: return kExitInternal;
  }
  return kExitInternal;
}

int run_ranks(int ranks, const CommOptions& options, const std::function<void(Communicator&)>& body) {
  try {
    LS_REQUIRE(kUsage, ranks >= 0, "--ranks {}: give at least 1", ranks);
    if (const std::optional<TcpPlace> place = place_from_torchrun())
      return run_under_torchrun(*place, ranks, options, body);
    if (launched_by_mpi()) return run_under_mpi(ranks, options, body);
    run_local_ranks(std::max(ranks, 1), options, body);
    return kExitOk;
  } catch (const std::exception& error) {
    return report(error, "");
  } catch (...) {
    return report(Error(ErrorKind::kInternal, "an exception of unknown type"), "");
  }
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

int threads_per_rank(std::int64_t requested, Communicator& world) {
  if (requested > 0) return static_cast<int>(requested);
  const std::vector<std::string> all = gather_strings(world, describe_cores());
  const std::vector<std::string> mine = words_of(all[world.rank()]);
  // Launchers may bind each rank to cores of its own, or none: the ranks of a host share the union of what they have.
  int ranks_here = 0;
  std::vector<std::string> cores_here;
  for (const std::string& text : all) {
    const std::vector<std::string> words = words_of(text);
    if (words.front() != mine.front()) continue;
    ++ranks_here;
    cores_here.insert(cores_here.end(), words.begin() + 1, words.end());
  }
  std::sort(cores_here.begin(), cores_here.end());
  const auto num_cores = std::unique(cores_here.begin(), cores_here.end()) - cores_here.begin();
  const auto mine_only = static_cast<std::ptrdiff_t>(mine.size()) - 1;
  return static_cast<int>(std::max<std::ptrdiff_t>(1, std::min(num_cores / ranks_here, mine_only)));
}

}  // namespace longspan
