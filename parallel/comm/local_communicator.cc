#include "parallel/comm/local_communicator.h"

#include <algorithm>
#include <exception>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels/core/error.h"

namespace longspan {

std::unique_ptr<PendingTransfers> LocalCommunicator::post(Channel channel, std::span<const Send> sends,
                                                          std::span<const Receive> receives, std::string_view what) {
  return std::make_unique<LocalTransfers>(*group_, rank_, device(), channel, sends, receives, what);
}

std::unique_ptr<ExchangeCommunicator> LocalCommunicator::divide(int color, int key) {
  LS_CHECK(color >= 0, "split with colour {}", color);
  const std::vector<int> members = members_of_split(*this, color, key);
  const auto my_place = std::find(members.begin(), members.end(), rank_) - members.begin();
  std::vector<int> world_ranks;
  for (const int member : members) world_ranks.push_back(group_->world_rank(member));

  auto group = group_->world().group_of_split({group_->id(), num_splits_++, color}, world_ranks);
  return std::make_unique<LocalCommunicator>(std::move(group), static_cast<int>(my_place));
}

void LocalCommunicator::abort(const std::string& reason) noexcept {
  group_->world().abort(group_->world_rank(rank_), reason);
}

std::string LocalCommunicator::abort_reason() {
  LocalWorld& world = group_->world();
  const std::lock_guard lock(world.mutex());
  return world.abort_rank() < 0 ? "" : fmt::format("rank {} aborted: {}", world.abort_rank(), world.abort_reason());
}

namespace {

using Body = std::function<void(Communicator&)>;

// Runs one rank; what it throws is kept, and ends the others.
std::exception_ptr run_rank(const std::shared_ptr<LocalGroup>& group, int rank, const Body& body) {
  LocalWorld& world = group->world();
  std::exception_ptr failure;
  try {
    LocalCommunicator comm(group, rank);
    body(comm);
  } catch (const std::exception& error) {
    failure = std::current_exception();
    world.abort(rank, error.what());
  } catch (...) {
    failure = std::current_exception();
    world.abort(rank, "an exception of unknown type");
  }
  world.finish(rank);
  return failure;
}

[[noreturn]] void rethrow_with_rank(const std::exception_ptr& failure, int rank) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    fail(error.kind(), "rank {}: {}", rank, error.what());
  } catch (const std::bad_alloc&) {
    fail(ErrorKind::kMemory, "rank {}: out of memory", rank);
  } catch (const std::exception& error) {
    fail(ErrorKind::kInternal, "rank {}: {}", rank, error.what());
  } catch (...) {
    fail(ErrorKind::kInternal, "rank {}: an exception of unknown type", rank);
  }
}

}  // namespace

void run_local_ranks(int num_ranks, const CommOptions& options, const Body& body) {
  LS_REQUIRE(kUsage, num_ranks >= 1, "{} ranks: give at least 1", num_ranks);
  LocalWorld world(num_ranks, options);
  std::vector<int> world_ranks(num_ranks);
  std::iota(world_ranks.begin(), world_ranks.end(), 0);
  const auto group = std::make_shared<LocalGroup>(world, 0, world_ranks);

  std::vector<std::exception_ptr> failures(num_ranks);
  if (num_ranks == 1) {
    failures[0] = run_rank(group, 0, body);
    if (failures[0]) std::rethrow_exception(failures[0]);
  } else {
    std::vector<std::jthread> threads;
    try {
      for (int r = 0; r < num_ranks; ++r) {
        threads.emplace_back([&, r] { failures[r] = run_rank(group, r, body); });
      }
    } catch (const std::system_error& error) {
      world.abort(static_cast<int>(threads.size()), fmt::format("its thread did not start: {}", error.what()));
    }
  }
  // The rank that aborted first is the one that failed; the others only heard of it.
  const int failed = world.abort_rank();
  if (failed < 0) return;
  if (failures[failed]) rethrow_with_rank(failures[failed], failed);
  fail(ErrorKind::kAborted, "rank {}: {}", failed, world.abort_reason());
}

}  // namespace longspan
